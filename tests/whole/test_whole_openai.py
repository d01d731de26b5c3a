"""What OpenAI's API promises of one answer or several, through the official client."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from conftest import Running, Start, eventually

pytestmark = pytest.mark.integration

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "level": {"enum": ["高", "低"]},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": 7}, "minItems": 1},
    },
    "required": ["city", "level", "sizes"],
    "additionalProperties": False,
}


def ask(text: str) -> list[Any]:
    """Messages of one question, typed for the client."""
    return [{"role": "user", "content": text}]


def test_two_choices_carry_their_index_and_count_the_prompt_once(
    openai_client: openai.OpenAI,
) -> None:
    create = openai_client.chat.completions.create
    one = create(model="", messages=ask("say this"))
    two = create(model="", messages=ask("say this"), n=2, seed=5)
    assert [choice.index for choice in two.choices] == [0, 1]
    assert {choice.message.content for choice in two.choices} == {one.choices[0].message.content}
    assert one.usage is not None
    assert two.usage is not None
    assert two.usage.prompt_tokens == one.usage.prompt_tokens
    assert two.usage.completion_tokens == 2 * one.usage.completion_tokens
    assert two.usage.total_tokens == two.usage.prompt_tokens + two.usage.completion_tokens


def test_streamed_choices_interleave_and_end_one_by_one(openai_client: openai.OpenAI) -> None:
    text, order = {0: "", 1: "", 2: ""}, []
    ends, usage = {}, None
    for chunk in openai_client.chat.completions.create(
        model="",
        messages=ask("#tokens=40 #slow=5 round and round"),
        n=3,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"faq": False},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            assert choice.index not in ends
            if choice.delta.content:
                text[choice.index] += choice.delta.content
                order.append(choice.index)
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    assert set(ends.values()) == {"stop"}
    assert text[0] == text[1] == text[2] != ""
    assert sum(a != b for a, b in itertools.pairwise(order)) > 10
    assert usage is not None
    assert usage.completion_tokens == 120


def test_choices_fall_together_when_their_reader_goes_away(appliance: Running) -> None:
    body = {
        "messages": ask("#tokens=7000 #slow=20 long"),
        "stream": True,
        "max_tokens": 7000,
        "faq": False,
        "n": 3,
    }
    with (
        appliance.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body) as stream,
    ):
        lines = (line for line in stream.iter_lines() if line.startswith("data: "))
        seen = {json.loads(next(lines)[6:])["choices"][0]["index"] for _ in range(12)}
        first = json.loads(next(lines)[6:])["id"].removeprefix("chatcmpl-")
    assert seen == {0, 1, 2}
    assert list(appliance.follow(first))[-1].event == "cancelled"
    deadline = time.monotonic() + 30
    while appliance.status()["queue"]["running"]:  # left alone they would take minutes
        assert time.monotonic() < deadline, "a choice goes on without a reader"


def test_a_whole_answer_that_nobody_waits_for_any_more_is_cancelled(appliance: Running) -> None:
    body = {
        "messages": ask("#tokens=7000 #slow=20 long"),
        "max_tokens": 7000,
        "faq": False,
        "n": 2,
    }
    with appliance.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=body, timeout=1.0)
    eventually(lambda: not appliance.status()["queue"]["running"], "a free slot")


def test_a_stream_says_something_while_nothing_is_generated(launch: Start, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[server]\nkeep_alive_s = 0.1\n")
    running = launch(tmp_path, "--engine", "fake")
    body = {"messages": ask("#tokens=2 #slow=1500 wait"), "stream": True, "faq": False}
    with (
        running.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body) as stream,
    ):
        lines = [line for line in stream.iter_lines() if line]
    first = next(n for n, line in enumerate(lines) if '"content":""' not in line and "{" in line)
    assert ": keep-alive" in lines[:first]
    assert lines[-1] == "data: [DONE]"


def test_one_choice_that_fails_fails_them_all_with_one_error(
    openai_client: openai.OpenAI,
) -> None:
    long = "word " * 6_000
    with pytest.raises(openai.BadRequestError, match="tokens"):
        openai_client.chat.completions.create(model="", messages=ask(long), n=4)


def test_log_probabilities_come_whole_and_streamed(openai_client: openai.OpenAI) -> None:
    create = openai_client.chat.completions.create
    options: dict[str, Any] = {"model": "", "messages": ask("你好"), "logprobs": True}
    whole = create(**options, top_logprobs=3).choices[0]
    assert whole.logprobs is not None
    tokens = whole.logprobs.content or []
    assert bytes(b for one in tokens for b in one.bytes or ()).decode() == whole.message.content
    assert all(len(one.top_logprobs) == 3 and one.logprob < 0 for one in tokens)
    assert any("\ufffd" in one.token for one in tokens), "a token inside a character"
    streamed: list[Any] = []
    for chunk in create(**options, stream=True):
        if chunk.choices and chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content or []
    assert [one.bytes for one in streamed] == [one.bytes for one in tokens]
    assert all(one.top_logprobs == [] for one in streamed)


def test_log_probabilities_survive_a_replay(appliance: Running) -> None:
    request_id = appliance.ask("replay me", faq=False, logprobs=True, top_logprobs=1)
    live, again = list(appliance.follow(request_id)), list(appliance.follow(request_id))
    assert live == again
    found = [one for event in live if event.event == "delta" for one in event.data["logprobs"]]
    assert len(found) == live[-1].data["usage"]["completion_tokens"]


def test_a_json_schema_is_held_whole_and_streamed(openai_client: openai.OpenAI) -> None:
    create = openai_client.chat.completions.create
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    whole = create(model="", messages=ask("where?"), response_format=form)
    value = json.loads(whole.choices[0].message.content or "")
    assert set(value) == {"city", "level", "sizes"}
    assert value["level"] in ("高", "低")
    assert all(size >= 7 for size in value["sizes"])
    pieces = ""
    for chunk in create(model="", messages=ask("where?"), response_format=form, stream=True):
        pieces += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    assert json.loads(pieces) == value
    cut = create(model="", messages=ask("where?"), response_format=form, max_tokens=3)
    assert cut.choices[0].finish_reason == "length"


def test_json_objects_and_grammars_are_held(
    appliance: Running, openai_client: openai.OpenAI
) -> None:
    create = openai_client.chat.completions.create
    whole = create(model="", messages=ask("hi"), response_format={"type": "json_object"})
    assert isinstance(json.loads(whole.choices[0].message.content or ""), dict)
    free = create(model="", messages=ask("hi"), response_format={"type": "text"})
    assert (free.choices[0].message.content or "").endswith("hi")
    rhyme = 'root ::= "roses are " ("red" | "blue")'
    bound = create(model="", messages=ask("hi"), extra_body={"grammar": rhyme})
    assert bound.choices[0].message.content == "roses are red"
    assert appliance.answer("hi", faq=False, grammar=rhyme) == "roses are red"
    assert isinstance(json.loads(appliance.answer("hi", json_schema={"type": "object"})), dict)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("grammar", {"grammar": 'root ::= "a"{5,3}'}),
    ("grammar", {"grammar": "root ::= root"}),
    ("grammar", {"grammar": "x" * 40_000}),
    ("combined", {"grammar": 'root ::= "a"', "response_format": {"type": "json_object"}}),
    ("json_schema", {"response_format": {"type": "json_schema"}}),
    (
        "pattern",
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"pattern": "a"}}}},
    ),
    (
        "fetched",
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"$ref": "https://example.com/x"}},
            }
        },
    ),
    ("response_format", {"response_format": {"type": "xml"}}),
    ("logprobs", {"top_logprobs": 2}),
    ("top_logprobs", {"logprobs": True, "top_logprobs": 21}),
    ("logit_bias", {"logit_bias": {"5": 101}}),
    ("logit_bias", {"logit_bias": {"-5": 1}}),
    ("logit_bias", {"logit_bias": {"word": 1}}),
    ("logit_bias", {"logit_bias": {str(number): 1 for number in range(301)}}),
    ("n", {"n": 0}),
    ("n", {"n": 9}),
    ("audio", {"modalities": ["audio"]}),
    ("functions", {"functions": [{"name": "f"}]}),
]


@pytest.mark.parametrize(("word", "fields"), WRONG)
def test_wrong_fields_are_refused_in_words(
    appliance: Running, word: str, fields: dict[str, Any]
) -> None:
    with appliance.client() as client:
        answer = client.post("/v1/chat/completions", json={"messages": ask("hi")} | fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "invalid"
    assert word in error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    "fields",
    [
        {"grammar": "root ::= x"},
        {"grammar": 'root ::= "a"', "json_schema": {}},
        {"json_schema": {"type": "string", "pattern": "a"}},
        {"top_logprobs": 3},
        {"logit_bias": {"1": -101}},
    ],
)
def test_wrong_fields_of_a_message_are_refused_before_it_is_a_turn(
    appliance: Running, fields: dict[str, Any]
) -> None:
    session = appliance.session()
    with appliance.client() as client:
        path = f"/api/sessions/{session}"
        answer = client.post(f"{path}/messages", json={"text": "hi"} | fields)
        assert answer.status_code == 400, answer.text
        assert client.get(f"{path}/turns").json()["items"] == []


def test_a_bias_is_taken(appliance: Running) -> None:
    with appliance.client() as client:
        body = {"messages": ask("hi"), "logit_bias": {"17": -100, "99999999": 2.5}}
        answer: httpx.Response = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
