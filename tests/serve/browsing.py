"""The page as a person uses it: open it, ask, wait for answers."""

import shutil
from contextlib import contextmanager

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
SECONDS = 30_000
_REFUSED = "Failed to load resource"  # the browser's own note of a status above 400, or of a server that is not there


@contextmanager
def opened(browser, address, begin=lambda page: None):
    """The page on a phone, after what is to be done to `begin`; in the end it must have met no error of its own."""
    context = browser.new_context(viewport={"width": 390, "height": 780})
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    begin(page)
    page.goto(address)
    yield page
    context.close()
    assert [text for text in wrong if not text.startswith(_REFUSED)] == []


def know_members(page):
    """Wait until the page knows whom it can ask."""
    page.wait_for_selector("#member option", state="attached")


def say(page, text):
    """Ask, as with the keyboard."""
    page.fill("#text", text)
    page.press("#text", "Enter")


def answered(page, count=1):
    """All answers, once there are so many and none is being written."""
    page.locator(".answer:not(.busy)").nth(count - 1).wait_for()
    return page.locator(".answer")
