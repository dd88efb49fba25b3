"""What the page does when it is not let in, or when the server is gone, and that everybody hears of it."""

import json

import pytest
from browsing import answered, know_members, needs_browser, opened, say
from servers import serving, two_members

pytestmark = needs_browser
KEY = "schlüssel-ж"  # no letter of Latin-1, which is all that a browser takes in a header
_TOLD = """
window.told = [];
document.addEventListener("DOMContentLoaded", () => {
  const problem = document.getElementById("problem");
  new MutationObserver(() => told.push(problem.textContent)).observe(problem, {childList: true, characterData: true});
});
"""


def listening(page):
    """Whatever problem is told is kept in `told`, and time passes when it is told to."""
    page.add_init_script(_TOLD)
    page.clock.install()


def problem(page, text):
    """Wait until this is the problem that is shown."""
    page.wait_for_function("text => document.getElementById('problem').textContent === text", arg=text)


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """The address of a server with a key."""
    with serving(two_members(tmp_path_factory.mktemp("locked")), "--api-key", KEY) as (address, _):
        yield address


def enter(page, key):
    page.fill("#key", key)
    page.press("#key", "Enter")


def test_a_key_is_asked_for_until_it_is_right_and_kept_for_the_tab(browser, locked):
    with opened(browser, locked) as page:
        problem(page, "This server asks for a key.")
        assert page.evaluate("document.activeElement.id") == "key"
        enter(page, "schlüssel")
        problem(page, "This is not the key of this server.")
        assert page.input_value("#key") == ""
        enter(page, KEY)
        know_members(page)
        problem(page, "")
        assert page.locator("#door").is_hidden()
        say(page, "Hello")
        assert "tokens/s" in answered(page).locator(".told").inner_text()
        page.reload()
        know_members(page)
        assert page.locator("#door").is_hidden()
        other = page.context.new_page()
        other.goto(locked)
        problem(other, "This server asks for a key.")


def test_all_that_are_compared_wait_for_one_key(browser, locked):
    with opened(browser, locked, listening) as page:
        enter(page, KEY)
        know_members(page)
        page.evaluate("told.length = 0")
        page.select_option("#member", "*")
        refused = []

        def withhold(route):  # as if the server had another key by now
            if len(refused) >= 2:
                return route.continue_()
            refused.append(route)
            return route.continue_(headers=route.request.headers | {"authorization": "Bearer other"})

        page.route("**/v1/chat/completions", withhold)
        say(page, "Hello")
        problem(page, "This is not the key of this server.")
        enter(page, "wrong")
        page.wait_for_function("() => told.length === 3")
        enter(page, KEY)
        assert all("tokens/s" in told for told in answered(page, 2).locator(".told").all_inner_texts())
        wrong = "This is not the key of this server."
        assert page.evaluate("told") == [wrong, "", wrong, ""]


def test_who_waits_for_a_key_can_stop(browser, locked):
    with opened(browser, locked) as page:
        enter(page, KEY)
        know_members(page)
        page.route("**/v1/chat/completions", lambda route: route.fulfill(status=401, body="{}"))
        say(page, "Hello")
        problem(page, "This is not the key of this server.")
        page.click("#stop")
        assert answered(page).locator(".told").inner_text() == "large · stopped"


@pytest.mark.parametrize(
    ("path", "answer", "text"),
    [
        ("health", lambda route: route.abort(), "The server cannot be reached."),
        (
            "health",
            lambda route: route.fulfill(status=503, body=json.dumps({"status": "failed", "members": {}})),
            "A member of this server has failed; the server must be started again.",
        ),
        ("health", lambda route: route.fulfill(status=503, body="Busy"), "The server refuses, with status 503."),
        ("v1/models", lambda route: route.abort(), "The server cannot be reached."),
        ("v1/models", lambda route: route.fulfill(status=503, body="Busy"), "The server refuses, with status 503."),
    ],
)
def test_a_problem_is_told_once_and_is_over_when_it_is(browser, page_address, path, answer, text):
    def begin(page):
        listening(page)
        page.route(f"**/{path}", answer)

    with opened(browser, page_address, begin) as page:
        problem(page, text)
        assert page.get_by_role("alert").inner_text() == text
        for _ in range(2):
            with page.expect_request(f"**/{path}"):
                page.clock.run_for(5000)
        page.wait_for_timeout(300)
        assert page.evaluate("told") == [text]
        page.unroute(f"**/{path}")
        page.clock.run_for(5000)
        problem(page, "")
        know_members(page)


def test_a_problem_does_not_hide_the_end(browser, page_address):
    with opened(browser, page_address, listening) as page:
        know_members(page)
        say(page, "One.\n" * 40)
        answered(page)
        page.route("**/health", lambda route: route.abort())
        page.clock.run_for(5000)
        problem(page, "The server cannot be reached.")
        page.clock.run_for(100)
        page.wait_for_function(
            "() => { const talk = document.getElementById('talk');"
            " return Math.abs(talk.scrollHeight - talk.scrollTop - talk.clientHeight) < 2; }"
        )


def test_a_lost_connection_is_told_in_plain_words(page):
    page.route("**/v1/chat/completions", lambda route: route.abort())
    say(page, "Hello")
    assert answered(page).locator(".said").inner_text() == "The server cannot be reached."


def test_a_server_that_comes_back_is_asked_for_its_members_again(browser, page_address):
    with opened(browser, page_address, listening) as page:
        know_members(page)
        page.route("**/health", lambda route: route.abort())
        page.clock.run_for(5000)
        problem(page, "The server cannot be reached.")
        page.unroute("**/health")
        page.route("**/v1/models", lambda route: route.fulfill(body=json.dumps({"data": [{"id": "new"}]})))
        page.clock.run_for(5000)
        page.wait_for_function("() => document.getElementById('member').value === 'new'")
        problem(page, "")


def test_a_reader_of_the_screen_hears_answers_whole(page):
    talk = page.get_by_role("main", name="What was said")
    assert talk.get_attribute("aria-live") == "polite"
    page.route("**/v1/chat/completions", lambda route: None)  # an answer that does not come
    say(page, "Hello")
    page.locator("#stop").wait_for()
    assert talk.get_attribute("aria-busy") == "true"
    page.click("#stop")
    page.locator("#send").wait_for()
    assert talk.get_attribute("aria-busy") == "false"
    assert page.locator("#state").get_attribute("role") is None  # it changes all the time


def test_what_was_said_is_scrolled_by_keys(page):
    for number in range(1, 4):
        say(page, "One.\n" * 20)
        answered(page, number)
    assert page.locator("#talk").get_attribute("tabindex") == "0"  # not every browser has keys scroll the rest
    page.locator("#text").press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "talk"
    end = page.evaluate("document.activeElement.scrollTop")
    page.keyboard.press("PageUp")
    page.wait_for_function("end => document.activeElement.scrollTop < end - 100", arg=end)
