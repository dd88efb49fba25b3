"""The page in a real browser: it streams, stops, switches, compares, remembers, and never takes text for markup."""

import json
import re
import shutil

import pytest
from servers import serving, two_members

playwright = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
SECONDS = 30_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return two_members(tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="module")
def address(folder):
    with serving(folder) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 780})
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    refused = "Failed to load resource"  # the browser's own note of a status above 400
    page.goto(address)
    page.wait_for_selector("#member option", state="attached")
    yield page
    context.close()
    assert [text for text in wrong if not text.startswith(refused)] == []


def say(page, text):
    page.fill("#text", text)
    page.press("#text", "Enter")


def answered(page, count=1):
    """All answers, once there are so many and none is being written."""
    page.locator(".answer:not(.busy)").nth(count - 1).wait_for()
    return page.locator(".answer")


def test_an_answer_comes_with_its_speed(page):
    page.fill("#text", "Hello")
    page.click("#send")
    told = answered(page).locator(".told").inner_text()
    assert re.fullmatch(r"large · \d+ tokens in [\d.]+ s · \d+ tokens/s", told)
    assert "torch · " in page.inner_text("#state")
    assert re.search(r"\d+ MB of memory", page.inner_text("#state"))


def test_escape_and_the_button_stop_it(page):
    page.click("#settings summary")
    page.fill("#max_tokens", "1000")
    page.fill("#temperature", "2")
    for number, stop in enumerate((lambda: page.click("#stop"), lambda: page.keyboard.press("Escape")), 1):
        page.route("**/v1/chat/completions", lambda route: None)  # an answer that does not come
        say(page, "Tell me all")
        page.locator("#stop").wait_for()
        stop()
        assert answered(page, number).last.locator(".told").inner_text() == "large · stopped"
        page.unroute("**/v1/chat/completions")
    say(page, "And now?")
    assert "tokens/s" in answered(page, 3).last.locator(".told").inner_text()


def test_members_are_switched_and_compared(page):
    page.select_option("#member", "small")
    say(page, "Hello")
    assert answered(page).locator(".told").inner_text().startswith("small")
    page.select_option("#member", "*")
    say(page, "Hello")
    names = [told.split(" · ")[0] for told in answered(page, 3).locator(".told").all_inner_texts()]
    assert sorted(names[1:]) == ["large", "small"]


def test_tasks_have_their_own_prompts_and_no_history(page):
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json) if request.method == "POST" else None)
    for number, (task, before) in enumerate(
        (("chat", ""), ("de", "Translate to German: "), ("summary", "Summarize: ")), 1
    ):
        page.select_option("#task", task)
        say(page, "One.")
        answered(page, number)
        assert asked[-1]["messages"][-1] == {"role": "user", "content": f"{before}One."}
        assert len(asked[-1]["messages"]) == 1
    page.select_option("#task", "chat")
    say(page, "Two.")
    answered(page, 4)
    assert [message["role"] for message in asked[-1]["messages"]] == ["user", "assistant", "user"]
    page.click("#reset")
    say(page, "Three.")
    answered(page, 1)
    assert len(asked[-1]["messages"]) == 1


def test_settings_are_remembered(page):
    page.click("#settings summary")
    page.fill("#temperature", "0.7")
    page.fill("#max_tokens", "5")
    page.select_option("#member", "small")
    page.press("#max_tokens", "Tab")
    page.reload()
    page.wait_for_selector("#member option", state="attached")
    assert page.input_value("#temperature") == "0.7"
    assert page.input_value("#max_tokens") == "5"
    assert page.input_value("#member") == "small"


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "&lt;b&gt;", "</div>"])
def test_text_is_text(page, text):
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(
            content_type="text/event-stream",
            body=f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\ndata: [DONE]\n\n",
        ),
    )
    say(page, text)
    assert answered(page).locator(".said").inner_text() == text
    assert page.locator(".asked").inner_text() == text
    assert page.locator("main img, main script").count() == 0


def test_errors_are_shown(page):
    say(page, "x" * 3000)
    answer = answered(page)
    assert "the context of this member is 1024" in answer.locator(".said").inner_text()
    assert "wrong" in answer.get_attribute("class")
    say(page, "Hello")  # what was refused does not stand in the way
    assert "tokens/s" in answered(page, 2).last.locator(".told").inner_text()


def test_a_new_conversation_begins_without_the_old(page):
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json) if request.method == "POST" else None)
    page.route("**/v1/chat/completions", lambda route: None)  # an answer that does not come
    say(page, "Old")
    page.locator("#stop").wait_for()
    page.click("#reset")
    page.locator("#send").wait_for()
    page.unroute("**/v1/chat/completions")
    say(page, "New")
    answered(page, 1)
    assert [message["content"] for message in asked[-1]["messages"]] == ["New"]


def test_nothing_is_wider_than_a_phone(page):
    say(page, "a" * 500)
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_key_is_asked_for(browser, folder):
    with serving(folder / "small", "--api-key", "secret") as (address, _):
        page = browser.new_page()
        page.goto(address)
        page.evaluate("localStorage.setItem('minikin.temperature', '0.7')")
        page.reload()
        page.locator("#key").wait_for()
        page.wait_for_timeout(300)  # time for the state to be asked for as well
        assert "wants a key" in page.locator("#state").inner_text()
        page.fill("#key", "secret")
        page.press("#key", "Tab")
        page.wait_for_selector("#member option", state="attached")
        assert page.input_value("#temperature") == "0.7"
        page.wait_for_function("document.getElementById('state').textContent.includes('MB of memory')")
        say(page, "Hello")
        assert "tokens/s" in answered(page).locator(".told").inner_text()
        page.close()
