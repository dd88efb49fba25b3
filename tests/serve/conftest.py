"""What tests of the page share: a browser and a server."""

import pytest
from browsing import BROWSER, know_members, opened
from servers import serving, two_members


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_address(tmp_path_factory):
    with serving(two_members(tmp_path_factory.mktemp("family"))) as (address, _):
        yield address


@pytest.fixture
def page(browser, page_address):
    with opened(browser, page_address) as page:
        know_members(page)
        yield page
