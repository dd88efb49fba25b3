"""The page in a real browser: it streams, stops, switches, compares, remembers, and never takes text for markup."""

import json
import re

import pytest
from browsing import answered, know_members, needs_browser, say

pytestmark = needs_browser


def test_an_answer_comes_with_its_speed(page):
    page.fill("#text", "Hello")
    page.click("#send")
    told = answered(page).locator(".told").inner_text()
    assert re.fullmatch(r"large · \d+ tokens in [\d.]+ s · \d+ tokens/s", told)
    assert "torch · " in page.inner_text("#state")
    assert re.search(r"\d+ MB of memory", page.inner_text("#state"))


def test_an_answer_that_is_cut_off_says_so(page):
    page.click("#settings summary")
    page.fill("#max_tokens", "5")
    say(page, "Hello")
    assert answered(page).locator(".told").inner_text().startswith("large · 5 tokens (cut off) in ")


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


def test_each_goes_on_with_what_it_said_itself(page):
    asked = []

    def answer(route):
        asked.append(route.request.post_data_json)
        content = f"I am {asked[-1]['model']}."
        event = json.dumps({"choices": [{"delta": {"content": content}}]})
        route.fulfill(content_type="text/event-stream", body=f"data: {event}\n\ndata: [DONE]\n\n")

    page.route("**/v1/chat/completions", answer)
    for member, text, count in (("small", "One", 1), ("*", "Two", 3), ("*", "Three", 5)):
        page.select_option("#member", member)
        say(page, text)
        answered(page, count)
    for name in ("large", "small"):
        last = [request["messages"] for request in asked if request["model"] == name][-1]
        said = [message["content"] for message in last]
        assert said == ["One", "I am small.", "Two", f"I am {name}.", "Three"]


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
    know_members(page)
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
    assert page.locator("header").bounding_box()["height"] < 110  # two rows


def test_the_end_of_an_answer_is_in_sight(page):
    say(page, "x" * 3000)
    assert answered(page).evaluate(
        "box => box.getBoundingClientRect().bottom <= document.getElementById('talk').getBoundingClientRect().bottom"
    )


def test_whoever_is_at_the_settings_is_left_there(page):
    held = []  # an answer that does not come
    page.route("**/v1/chat/completions", lambda route: held.append(route))
    say(page, "Hello")
    page.click("#settings summary")
    page.press("#temperature", "Escape")
    assert page.locator("#fields").is_hidden()
    assert page.locator("#stop").is_visible()  # the answer goes on
    page.click("#settings summary")
    page.focus("#temperature")
    held[0].abort()
    page.locator("#send").wait_for()
    assert page.evaluate("document.activeElement.id") == "temperature"
    page.click("#talk", position={"x": 20, "y": 500})
    assert page.locator("#fields").is_hidden()
