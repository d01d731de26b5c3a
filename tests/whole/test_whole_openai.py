"""What OpenAI's API promises of one answer or several, through the official client."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from conftest import Running, Start, eventually

from appliance.api.openai_asking import asked
from appliance.api.openai_bodies import ChatBody, Message
from appliance.settings import Settings

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
    ("typical_p", {"typical_p": 0.5}),
    ("xtc_probability", {"xtc_probability": 0.5}),
    ("dry_multiplier", {"dry_multiplier": 0.8}),
    ("mirostat", {"mirostat": 2}),
    ("lora", {"lora": [{"id": 0, "scale": 1}]}),
    ("role tool", {"messages": [{"role": "tool", "content": "4", "tool_call_id": "1"}]}),
    ("tool_calls", {"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}),
    (
        "image_url",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
    ),
    (
        "input_audio",
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
    ),
    ("no content", {"messages": [{"role": "user", "content": None}]}),
    ("cannot be continued", {"messages": [{"role": "assistant", "content": "And"}]}),
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


SAMPLERS_OFF = {"typical_p": 1.0, "xtc_probability": 0, "dry_multiplier": 0.0, "mirostat": 0}


@pytest.mark.parametrize(
    "fields",
    [
        SAMPLERS_OFF,
        {"seed": -1},
        {"seed": 2**63 - 1, "n": 2},
        {"top_p": 0, "temperature": 1.5},
        {"stream": True, "stream_options": {"include_usage": None}},
        {"tools": [], "tool_choice": "none", "audio": None},
        {"messages": [*ask("hi"), {"role": "assistant", "content": None}, *ask("more")]},
    ],
)
def test_what_openai_takes_is_taken(appliance: Running, fields: dict[str, Any]) -> None:
    with appliance.client() as client:
        answer = client.post("/v1/chat/completions", json={"messages": ask("hi")} | fields)
    assert answer.status_code == 200, answer.text


async def test_seeds_beyond_ours_count_modulo_and_top_p_zero_is_greedy() -> None:
    async def sampled(**fields: Any) -> dict[str, Any]:
        body = ChatBody(messages=(Message(role="user", content="hi"),), **fields)
        (request,) = await asked(Settings(), body, "", "local", shared=True)
        return msgspec.structs.asdict(request.sampling)

    assert (await sampled(seed=2**32 + 6))["seed"] == 7
    assert (await sampled(seed=-1))["seed"] is None
    assert (await sampled(seed=-2))["seed"] == 2**32 - 3
    assert (await sampled(top_p=0, temperature=1))["temperature"] == 0


SYSTEM = {"role": "system", "content": "be brief"}


@pytest.mark.parametrize(
    ("given", "roles"),
    [
        ([SYSTEM, *ask("hi")], "system user"),
        ([*ask("hi"), SYSTEM, SYSTEM | {"role": "developer"}], "system system user"),
        ([SYSTEM], "user"),
        ([SYSTEM, SYSTEM], "system user"),
    ],
)
async def test_the_question_comes_last_whatever_the_system_says_after_it(
    given: list[Any], roles: str
) -> None:
    body = msgspec.convert({"messages": given}, ChatBody)
    (request,) = await asked(Settings(), body, "", "local", shared=True)
    assert " ".join(message.role for message in request.messages) == roles
    assert request.text == request.messages[-1].content


def test_a_stream_has_one_model_name_and_ends_with_what_was_cut(
    appliance: Running, openai_client: openai.OpenAI
) -> None:
    entry = {"question": "When is the attic open?", "answer": "On Sundays at ten."}
    with appliance.client() as client:
        entry_id = client.post("/api/faq", json=entry).json()["id"]
        for text in (entry["question"], "#tokens=3 hello"):
            body = {"messages": ask(text), "stream": True}
            body |= {"stream_options": {"include_usage": True}}
            said = client.post("/v1/chat/completions", json=body).text
            lines = [line[6:] for line in said.splitlines() if line.startswith("data: {")]
            chunks = [json.loads(line) for line in lines]
            assert len({chunk["model"] for chunk in chunks}) == 1
            assert [chunk["cut_turns"] for chunk in chunks[-2:]] == [0, 0]
            assert all("cut_turns" not in chunk for chunk in chunks[:-2])
        client.delete(f"/api/faq/{entry_id}")
    talk: list[Any] = []
    for _ in range(40):
        talk += [*ask("word " * 100), {"role": "assistant", "content": "yes " * 100}]
    cut = openai_client.chat.completions.create(model="", messages=[*talk, *ask("and?")])
    assert cut.model_extra is not None
    assert cut.model_extra["cut_turns"] > 0


def test_a_direct_answer_keeps_to_the_stops_and_the_length_asked_for(appliance: Running) -> None:
    entry = {"question": "Where is the kiln?", "answer": "In the cellar, behind the bicycles."}
    with appliance.client() as client:
        entry_id = client.post("/api/faq", json=entry).json()["id"]

        def tokens(**fields: Any) -> int:
            body = {"messages": ask(entry["question"])} | fields
            answer = client.post("/v1/chat/completions", json=body).json()
            return int(answer["usage"]["completion_tokens"])

        assert tokens() == tokens(stop="attic", max_tokens=100) == 0
        assert tokens(stop="bicycles") > 0
        assert 0 < tokens(max_tokens=5) <= 5
        client.delete(f"/api/faq/{entry_id}")


def test_one_model_is_found_by_name_and_alias(openai_client: openai.OpenAI) -> None:
    models = openai_client.models.list().data
    for one in models:
        assert openai_client.models.retrieve(one.id) == one
    assert openai_client.models.retrieve("gpt-4o") == models[0]
    with pytest.raises(openai.NotFoundError, match="no model"):
        openai_client.models.retrieve("unheard-of")


def test_embeddings_name_their_model_and_count_what_it_read(openai_client: openai.OpenAI) -> None:
    create = openai_client.embeddings.create
    for model in ("", "fake-ngrams", "gpt-4o", "text-embedding-ada-002"):
        made = create(model=model, input="hello")
        assert made.model == "fake-ngrams"
        assert made.usage.prompt_tokens == made.usage.total_tokens > 0
    more = create(model="", input=["hello", "hello", "hello"])
    assert more.usage.prompt_tokens == 3 * made.usage.prompt_tokens
    size = len(create(model="", input="hello").data[0].embedding)
    assert len(create(model="", input="hello", dimensions=size).data[0].embedding) == size
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        create(model="", input="hello", dimensions=size // 2)
    with pytest.raises(openai.NotFoundError, match="unheard-of"):
        create(model="unheard-of", input="hello")
    for tokens in ([15339, 1917], [[15339], [1917]]):
        with pytest.raises(openai.BadRequestError, match="must be text") as refused:
            create(model="", input=tokens)
        assert "check_embedding_ctx_length=False" in str(refused.value.body)
    with pytest.raises(openai.BadRequestError, match="256"):
        create(model="", input=["hello"] * 257)


@pytest.mark.parametrize("path", ["completions", "responses", "images/generations", "rerank"])
def test_other_calls_of_openai_are_refused_by_name(appliance: Running, path: str) -> None:
    with appliance.client() as client:
        answer = client.post(f"/v1/{path}", json={})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["message"] == f"/v1/{path} is not supported"
    assert error["reason"] == "unsupported"


def test_a_person_is_told_of_routes_that_there_are_none_and_of_others_whose_they_are(
    appliance: Running,
) -> None:
    with appliance.client() as client:
        made = client.post("/api/keys", json={"name": "ada", "role": "person", "uid": "ada"})
        assert made.status_code == 201, made.text
        client.headers["Authorization"] = f"Bearer {made.json()['key']}"
        for path in ("/api/nothing", "/v1/responses", "/api/users/ada/nothing/here"):
            assert client.post(path, json={}).status_code == 404, path
        for path in ("/api/logs", "/api/logs/", "/api/users/ada/prompt", "/api/dead-letters"):
            assert client.get(path).status_code == 403, path
        assert client.get("/v1/models/gpt-4").status_code == 200


def test_a_bias_is_taken(appliance: Running) -> None:
    with appliance.client() as client:
        body = {"messages": ask("hi"), "logit_bias": {"17": -100, "99999999": 2.5}}
        answer: httpx.Response = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
