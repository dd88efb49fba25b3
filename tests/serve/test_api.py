"""The OpenAI client talks to a family, and every way of asking gives the same answer."""

import httpx2
import openai
import pytest
import torch
from servers import ENDS, two_members
from servers import serving as started

from minikin.model.checkpoint import load
from minikin.model.generate import generate
from minikin.text.chat import Message, encode_prompt
from minikin.text.tokenizer import Tokenizer

PARTIAL = range(6 + 128, 6 + 256)  # tokens that are but a part of a character
TEMPLATE = {"chat_template_kwargs": {"enable_thinking": False}}
ASKED = [{"role": "user", "content": "Say something."}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return two_members(tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="module", params=["torch", "llama.cpp"])
def address(request, folder):
    with started(folder, "--type", "f32", engine=request.param) as (address, _):
        yield address


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def without_partial(scores, seen):
    return scores.index_fill(-1, torch.tensor(PARTIAL), float("-inf"))


def chat(client, **asked):
    return client.chat.completions.create(**({"model": "large", "messages": ASKED, "max_tokens": 12} | asked))


def test_members_are_models(client):
    assert [model.id for model in client.models.list()] == ["large", "small"]
    assert client.models.retrieve("small").id == "small"


def test_the_answer_is_the_members_own(client, folder):
    tokenizer = Tokenizer.load(folder / "large")
    prompt = encode_prompt(tokenizer, [Message(role="user", content="Say something.")])
    # a random member would say bytes that are no characters; whole ones it says alike in every engine
    said = chat(client, logit_bias=dict.fromkeys(map(str, PARTIAL), -100))
    expected = generate(load(folder / "large").eval(), [prompt], 12, adjust=without_partial)[0]
    # llama.cpp remembers in float16, which turns a random member's near ties round
    sure = 12 if said.system_fingerprint == "minikin-torch" else 1
    assert said.choices[0].message.content[:sure] == tokenizer.decode(expected)[:sure]
    assert said.choices[0].message.role == "assistant"
    assert said.usage.prompt_tokens == len(prompt)


def test_streams_say_the_same(client):
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_members_are_switched_by_name(client):
    assert chat(client, model="small").choices[0].message.content != chat(client).choices[0].message.content


def test_limits_and_ends(client):
    said = chat(client, logit_bias=ENDS, max_tokens=5)
    assert (said.usage.completion_tokens, said.choices[0].finish_reason) == (5, "length")
    said = chat(client, logit_bias=ENDS, max_completion_tokens=6, max_tokens=3)
    assert said.usage.completion_tokens == 6
    letter = {str(6 + ord("a")): 100.0}
    said = chat(client, logit_bias=letter, stop=["aaa"], max_tokens=50)
    assert (said.choices[0].message.content, said.choices[0].finish_reason) == ("", "stop")
    said = chat(client, logit_bias=letter, max_tokens=4)
    assert said.choices[0].message.content == "aaaa"


def test_seeds_and_choices(client):
    drawn = {"temperature": 1.5, "seed": 3, "logit_bias": ENDS, "extra_body": {"top_k": 40, "min_p": 0.01}}
    first, again = (chat(client, n=2, **drawn) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert texts[0] != texts[1]
    assert first.usage.completion_tokens == 24
    # to llama.cpp the last one of 32 bits means any
    last = [chat(client, **drawn | {"seed": seed}).choices[0].message.content for seed in (-1, -1, (1 << 32) - 1)]
    assert len(set(last)) == 1


def test_streamed_choices_are_those_of_the_whole_answer(client):
    asked = {"temperature": 1.5, "seed": 3, "logit_bias": ENDS, "n": 3, "max_tokens": 80}
    texts, order = ["", "", ""], list[int]()
    for chunk in chat(client, stream=True, **asked):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        order.append(chunk.choices[0].index)
    assert texts == [choice.message.content for choice in chat(client, **asked).choices]
    # all speak at once
    assert max(map(order.index, range(3))) < min(len(order) - order[::-1].index(index) for index in range(3))


def test_without_a_seed_every_answer_is_another(client):
    drawn = {"temperature": 2.0, "logit_bias": ENDS, "max_tokens": 30}
    assert len({chat(client, **drawn).choices[0].message.content for _ in range(4)}) > 1


def test_parts_of_characters_are_told_by_their_bytes(client):
    asked = {"logprobs": True, "top_logprobs": 1, "max_tokens": 1}
    whole, part = (chat(client, **asked, logit_bias={token: 100.0}) for token in ("101", "201"))
    assert [token.bytes for token in whole.choices[0].logprobs.content] == [[95]]
    told = part.choices[0].logprobs
    if "llama" in part.system_fingerprint:  # it keeps silent on a part until the character is whole
        assert told.content == []
    else:
        assert [token.bytes for token in told.content] == [[195]]


def test_log_probabilities(client):
    said = chat(client, logprobs=True, top_logprobs=2, logit_bias=ENDS | {"103": 100.0}, max_tokens=3)
    found = said.choices[0].logprobs.content
    assert [token.token for token in found] == ["a"] * 3
    assert all(token.logprob <= token.top_logprobs[0].logprob <= 0 for token in found)
    assert {len(token.top_logprobs) for token in found} == {2}
    assert chat(client).choices[0].logprobs is None


def test_text_is_gone_on_with(client):
    asked = {"model": "large", "max_tokens": 6, "logit_bias": ENDS | {"103": 100.0}}
    assert client.completions.create(prompt="b", echo=True, **asked).choices[0].text == "baaaaaa"
    told = client.completions.create(prompt="b", logprobs=1, **asked).choices[0].logprobs
    assert (told.tokens, told.text_offset) == (["a"] * 6, [0, 1, 2, 3, 4, 5])
    assert [share["a"] for share in told.top_logprobs] == told.token_logprobs  # beside who was likelier
    with pytest.raises(openai.BadRequestError, match="echo"):
        client.completions.create(prompt="b", echo=True, logprobs=1, **asked)
    several = client.completions.create(prompt=["b", "c"], **asked)
    assert [choice.text for choice in several.choices] == ["a" * 6] * 2
    ids = client.completions.create(prompt=[2, 104], **asked)
    assert ids.usage.prompt_tokens == 2
    streamed = list(client.completions.create(prompt="b", stream=True, logprobs=1, **asked))
    assert "".join(chunk.choices[0].text for chunk in streamed) == "a" * 6
    offsets = [at for chunk in streamed if chunk.choices[0].logprobs for at in chunk.choices[0].logprobs.text_offset]
    assert offsets == [0, 1, 2, 3, 4, 5]
    # what a stop sequence might begin with is held back, and counted all the same
    held = list(client.completions.create(prompt="b", stream=True, logprobs=1, stop=["aaac"], **asked))
    offsets = [at for chunk in held if chunk.choices[0].logprobs for at in chunk.choices[0].logprobs.text_offset]
    assert offsets == [0, 1, 2, 3, 4, 5]
    whole = client.completions.create(prompt="b", n=2, **asked).usage
    chunks = client.completions.create(prompt="b", n=2, stream=True, stream_options={"include_usage": True}, **asked)
    assert list(chunks)[-1].usage == whole


def test_responses(client):
    asked = {"model": "large", "input": "Say something.", "max_output_tokens": 12}
    said = client.responses.create(**asked)
    assert said.output_text == chat(client).choices[0].message.content
    assert said.usage.total_tokens == said.usage.input_tokens + said.usage.output_tokens
    events = list(client.responses.create(stream=True, **asked))
    assert events[0].type == "response.created"
    assert events[-1].type == f"response.{said.status}"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == said.output_text
    assert events[-1].response.output_text == said.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    turns = [{"role": "user", "content": [{"type": "input_text", "text": "Say something."}]}]
    assert client.responses.create(model="large", input=turns, max_output_tokens=12).output_text == said.output_text


def test_parts_and_systems(client):
    parts = [{"role": "user", "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "something."}]}]
    assert chat(client, messages=parts).choices[0].message.content == chat(client).choices[0].message.content
    told = chat(client, messages=[{"role": "developer", "content": "Be brief."}, *ASKED])
    assert told.usage.prompt_tokens > chat(client).usage.prompt_tokens


def test_what_clients_send_beside_is_ignored(client):
    extra = {"store": False, "metadata": {"a": "b"}, "service_tier": "auto", "parallel_tool_calls": False, "user": "me"}
    said = chat(
        client,
        **extra,
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="auto",
        extra_body=TEMPLATE,
    )
    assert said.choices[0].message.content == chat(client).choices[0].message.content


def test_an_unknown_model_is_named(client):
    with pytest.raises(openai.NotFoundError, match=r"'huge' does not exist; there are large, small") as refused:
        chat(client, model="huge")
    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [ASKED[0]] * 257}, "messages"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"n": 100}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a" * 257]}, "stop"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"5000": 1}}, "logit_bias"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"seed": 1.5}, "seed"),
        ({"extra_body": {"chat_template_kwargs": [1]}}, "chat_template_kwargs"),
    ],
)
def test_absurd_requests_are_refused_by_their_field(client, asked, param):
    with pytest.raises(openai.BadRequestError) as refused:
        chat(client, **asked)
    assert refused.value.param.startswith(param)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ([], "prompt: List should have at least 1 item"),
        (["a"] * 5, "prompt: List should have at most 4 items"),
        ([1, "a"], "prompt.1: Input should be a valid integer"),
        (7, "prompt: Input should be a valid string"),
        ({"a": 1}, "prompt: Input should be a valid string"),
    ],
)
def test_what_may_be_several_things_is_refused_by_what_it_is_most_like(client, prompt, told):
    with pytest.raises(openai.BadRequestError, match=f"400 - {told}"):
        client.completions.create(model="large", prompt=prompt)


def test_a_part_that_is_no_text_is_refused_by_its_kind(client):
    image = [{"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(
        openai.BadRequestError, match="Input should be 'text', 'input_text' or 'output_text'"
    ) as refused:
        chat(client, messages=[{"role": "user", "content": image}])
    assert refused.value.param == "messages.0.content.0.type"


def test_a_prompt_that_does_not_fit_tells_both_numbers(client):
    for length, told in ((1100, r"has 1\d\d\d tokens, and the context of this member is 1024"), (20_000, "16384")):
        with pytest.raises(openai.BadRequestError, match=told) as refused:
            chat(client, messages=[{"role": "user", "content": "x" * length}])
        assert refused.value.code == "context_length_exceeded"
        assert refused.value.param == "messages"
        with pytest.raises(openai.BadRequestError, match=told):
            chat(client, messages=[{"role": "user", "content": "x" * length}], stream=True)
        with pytest.raises(openai.BadRequestError, match=told) as refused:
            client.completions.create(model="large", prompt="x" * length)
        assert refused.value.param == "prompt"
        with pytest.raises(openai.BadRequestError, match=told) as refused:
            client.responses.create(model="large", input="x" * length)
        assert refused.value.param == "input"


def test_state_and_counters(client, address):
    chat(client)
    health = httpx2.get(f"{address}/health").json()
    assert health["status"] == "ok"
    assert health["members"].keys() == {"large", "small"}
    assert health["resident_bytes"] > 1 << 20
    assert health["members"]["small"]["slots"] == {"free": 8, "busy": 0}
    counters = httpx2.get(f"{address}/metrics").text
    assert 'minikin_requests_total{route="/v1/chat/completions",status="200"}' in counters
    assert 'minikin_first_token_seconds_bucket{le="0.005",member="large"}' in counters
    assert 'minikin_running{member="small"} 0.0' in counters
    httpx2.get(f"{address}/v1/models/small")
    assert 'minikin_requests_total{route="/v1/models/{name}",status="200"}' in httpx2.get(f"{address}/metrics").text


def test_the_description_says_what_can_happen_where(address):
    told = httpx2.get(f"{address}/openapi.json").json()
    slow = {path for path, methods in told["paths"].items() for how in methods.values() if "504" in how["responses"]}
    assert slow == {"/v1/chat/completions", "/v1/completions", "/v1/responses"}
    assert "security" not in told
    assert "securitySchemes" not in told["components"]
