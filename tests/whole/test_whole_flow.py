"""The ten steps, over the API of a running appliance with the fake engine."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import psutil
import pytest
from conftest import Event, Running, parse, text_of

pytestmark = pytest.mark.integration

TERMINAL = {"done", "failed", "refused", "cancelled"}


def test_a_question_is_accepted_at_once_and_its_events_come_in_order(appliance: Running) -> None:
    events = list(appliance.follow(appliance.ask("what is this?")))
    names = [event.event for event in events]
    assert names[:3] == ["received", "admitted", "retrieved"]
    assert set(names[3:-1]) == {"delta"}
    assert names[-1] == "done"
    done = events[-1].data
    assert done["finish_reason"] == "stop"
    assert done["usage"]["completion_tokens"] > 0
    assert done["timings"]["total_ms"] >= done["timings"]["first_token_ms"]


def test_a_new_faq_entry_is_live_at_the_next_question(appliance: Running) -> None:
    question = "Which colour has the lighthouse at Kepler bay?"
    assert "vermilion" not in appliance.answer(question)
    entry = {
        "question": "What colour is the lighthouse at Kepler bay?",
        "answer": "It is vermilion.",
    }
    with appliance.client() as client:
        made = client.post("/api/faq", json=entry)
        assert made.status_code == 201
        assert "vermilion" in appliance.answer(question)
        path = f"/api/faq/{made.json()['id']}"
        changed = client.put(path, json=entry | {"answer": "It was painted indigo."})
        assert changed.json()["version"] == 2
        assert "indigo" in appliance.answer(question)
        assert client.delete(path).status_code == 204
        assert "indigo" not in appliance.answer(question)
        assert client.get(path).status_code == 404


def test_a_chinese_entry_answers_a_chinese_question(appliance: Running) -> None:
    with appliance.client() as client:
        entry = {"question": "灯塔几点关门？", "answer": "灯塔每天 21:45 关门。"}
        assert client.post("/api/faq", json=entry).status_code == 201
        found = client.get("/api/faq/search", params={"q": "灯塔什么时候关门"}).json()["items"]
        assert found[0]["question"] == entry["question"]
    assert "21:45" in appliance.answer("灯塔几点关门呢？")


def test_history_and_profile_reach_the_prompt(appliance: Running) -> None:
    with appliance.client() as client:
        client.put("/api/users/lin", json={"attributes": {"name": "Lin"}, "tags": ["new"]})
    session = appliance.session("lin")
    first = list(appliance.follow(appliance.ask("hello there", session)))
    second = list(appliance.follow(appliance.ask("hello there", session)))
    tokens = [events[-1].data["usage"]["prompt_tokens"] for events in (first, second)]
    other = list(appliance.follow(appliance.ask("hello there")))
    assert tokens[1] > tokens[0], "the first turn is part of the second prompt"
    assert tokens[0] > other[-1].data["usage"]["prompt_tokens"], "the profile is part of it"


def test_turns_are_kept_in_order_and_sessions_listed_by_activity(appliance: Running) -> None:
    older, newer = appliance.session("mei"), appliance.session("mei")
    for text in ("one", "two", "three"):
        appliance.answer(text, older)
    with appliance.client() as client:
        listed = client.get("/api/sessions", params={"uid": "mei"}).json()["items"]
        assert [item["id"] for item in listed] == [older, newer]
        page = client.get(f"/api/sessions/{older}/turns", params={"limit": 2}).json()
        assert [turn["question"] for turn in page["items"]] == ["two", "three"]
        assert all(turn["state"] == "done" and turn["answer"] for turn in page["items"])
        rest = client.get(
            f"/api/sessions/{older}/turns", params={"limit": 2, "cursor": page["cursor"]}
        ).json()
        assert [turn["question"] for turn in rest["items"]] == ["one"]
        assert rest["cursor"] is None
        renamed = client.patch(f"/api/sessions/{newer}", json={"title": "标题"})
        assert renamed.json()["title"] == "标题"
        assert client.delete(f"/api/sessions/{older}").status_code == 204
        assert client.get(f"/api/sessions/{older}/turns").status_code == 404


def test_a_faq_is_read_page_by_page_whatever_its_ids_are(appliance: Running) -> None:
    ids = [f"{number}{'x' * 62}" for number in range(3)]
    lines = [json.dumps({"id": one, "question": f"{one}?", "answer": "yes"}) for one in ids]
    with appliance.client() as client:
        imported = client.post(
            "/api/faq/import",
            content="\n".join(lines).encode(),
            headers={"Content-Type": "application/jsonl"},
        )
        assert imported.is_success, imported.text
        listed: list[str] = []
        cursor = ""
        while True:
            page = client.get(
                "/api/faq", params={"limit": 1} | ({"cursor": cursor} if cursor else {})
            )
            assert page.status_code == 200, page.text
            listed += [entry["id"] for entry in page.json()["items"]]
            cursor = page.json()["cursor"]
            if cursor is None:
                break
        assert set(ids) <= set(listed)
        for one in ids:
            client.delete(f"/api/faq/{one}").raise_for_status()


def test_several_readers_hear_the_same_and_a_reader_resumes_where_it_left(
    appliance: Running,
) -> None:
    request_id = appliance.ask("#tokens=60 #slow=10 go on", faq=False)
    with ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(lambda _: list(appliance.follow(request_id)), range(8)))
    assert all(events == heard[0] for events in heard)
    for position in (0, 3, len(heard[0]) - 2):
        rest = list(appliance.follow(request_id, heard[0][position].id))
        assert rest == heard[0][position + 1 :]
    assert list(appliance.follow(request_id, heard[0][-1].id)) == []


def test_cancelling_ends_a_running_answer_with_what_there_was(appliance: Running) -> None:
    session = appliance.session()
    request_id = appliance.ask("#tokens=1500 #slow=10 endless", session, faq=False, max_tokens=1500)
    events: list[Event] = []
    with appliance.client() as client:
        for event in appliance.follow(request_id):
            events.append(event)
            if len(events) == 6:
                assert client.delete(f"/api/requests/{request_id}").status_code == 202
        assert events[-1].event == "cancelled"
        assert sum(event.event in TERMINAL for event in events) == 1
        again = client.delete(f"/api/requests/{request_id}")
        assert again.status_code == 409
        (turn,) = client.get(f"/api/sessions/{session}/turns").json()["items"]
    assert turn["state"] == "cancelled"
    assert turn["answer"] == text_of(events)


def hold(appliance: Running, slots: int) -> list[str]:
    """As many long answers, each for somebody else: one alone does not get every slot."""
    return [
        appliance.ask(
            "#tokens=1500 #slow=5 hold",
            appliance.session(f"holder{n}"),
            faq=False,
            max_tokens=1500,
        )
        for n in range(slots)
    ]


def test_people_beyond_the_slots_wait_and_hear_their_place(appliance: Running) -> None:
    slots = appliance.status()["queue"]["capacity"]
    held = hold(appliance, slots)
    admitted = [next(e for e in appliance.follow(r) if e.event == "delta") for r in held]
    assert len(admitted) == slots
    waiting = [appliance.ask("quick", faq=False) for _ in range(2)]
    places = [next(e for e in appliance.follow(r) if e.event == "waiting").data for r in waiting]
    assert [place["place"] for place in places] == [1, 2]
    assert 0 < places[0]["eta_s"] <= places[1]["eta_s"]
    with appliance.client() as client:
        for request_id in held:
            client.delete(f"/api/requests/{request_id}")
    assert all(list(appliance.follow(r))[-1].event == "done" for r in waiting)


def test_a_waiting_request_can_be_cancelled(appliance: Running) -> None:
    slots = appliance.status()["queue"]["capacity"]
    held = hold(appliance, slots)
    request_id = appliance.ask("never mind", faq=False)
    next(e for e in appliance.follow(request_id) if e.event == "waiting")
    with appliance.client() as client:
        for rid in (request_id, *held):
            assert client.delete(f"/api/requests/{rid}").status_code == 202
    names = [event.event for event in appliance.follow(request_id)]
    assert "admitted" not in names
    assert names[-1] == "cancelled"


def test_a_deadline_that_passes_ends_the_request(appliance: Running) -> None:
    request_id = appliance.ask(
        "#tokens=1500 #slow=20 long", faq=False, max_tokens=1500, deadline_s=1.0
    )
    last = list(appliance.follow(request_id))[-1]
    assert (last.event, last.data["reason"]) == ("failed", "deadline")


def test_the_official_openai_client_works_both_ways(openai_client: openai.OpenAI) -> None:
    client = openai_client
    model = client.models.list().data[0].id
    whole = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "say this back"}]
    )
    text = whole.choices[0].message.content
    assert text
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0
    pieces, usage = "", None
    for chunk in client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "say this back"}],
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        if chunk.choices:
            pieces += chunk.choices[0].delta.content or ""
    assert pieces == text
    assert usage is not None
    assert usage.prompt_tokens == whole.usage.prompt_tokens
    assert usage.completion_tokens == whole.usage.completion_tokens
    assert usage.prompt_tokens_details is not None
    cached = usage.prompt_tokens_details.cached_tokens or 0
    assert cached > usage.prompt_tokens // 2, "the second asking finds the first one's"
    vectors = client.embeddings.create(model="text-embedding-3-small", input=["one", "二"])
    assert [item.index for item in vectors.data] == [0, 1]
    assert vectors.usage.total_tokens == vectors.usage.prompt_tokens > 0
    assert sum(x * x for x in vectors.data[1].embedding) == pytest.approx(1.0, abs=1e-3)


def test_an_openai_error_is_one_the_client_understands(
    appliance: Running, openai_client: openai.OpenAI
) -> None:
    client = openai_client
    with pytest.raises(openai.BadRequestError, match="tools"):
        client.chat.completions.create(
            model="x",
            messages=[{"role": "user", "content": "hi"}],
            tools=[{"type": "function", "function": {"name": "f"}}],
        )
    with (
        pytest.raises(openai.AuthenticationError),
        openai.OpenAI(base_url=f"{appliance.url}/v1", api_key="wrong") as stranger,
    ):
        stranger.models.list()


def test_a_stream_whose_reader_goes_away_is_cancelled(appliance: Running) -> None:
    body = {
        "messages": [{"role": "user", "content": "#tokens=1500 #slow=20 long"}],
        "stream": True,
        "max_tokens": 1500,
        "faq": False,
    }
    with (
        appliance.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body) as stream,
    ):
        first = next(line for line in stream.iter_lines() if line.startswith("data: "))
        request_id = json.loads(first.removeprefix("data: "))["id"].removeprefix("chatcmpl-")
    assert list(appliance.follow(request_id))[-1].event == "cancelled"


async def test_two_hundred_idle_followers_cost_no_thread_and_little_memory(
    appliance: Running,
) -> None:
    request_id = appliance.ask("#tokens=8000 #slow=100 long", faq=False, max_tokens=8000)
    process = psutil.Process(appliance.process.pid)
    threads, memory = process.num_threads(), process.memory_info().rss
    following = asyncio.Semaphore(0)

    async def follow(client: httpx.AsyncClient) -> list[str]:
        path = f"/api/requests/{request_id}/events"
        async with client.stream("GET", path) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            following.release()
            return [line async for line in lines if line.startswith("event: ")]

    async with httpx.AsyncClient(
        base_url=appliance.url,
        headers={"Authorization": f"Bearer {appliance.key}"},
        timeout=60,
        limits=httpx.Limits(max_connections=None),
    ) as client:
        tasks = [asyncio.create_task(follow(client)) for _ in range(200)]
        for _ in tasks:
            await following.acquire()
        assert process.num_threads() <= threads + 2
        assert process.memory_info().rss - memory < 100_000_000
        assert appliance.status()["sessions_following"] >= 200
        await client.delete(f"/api/requests/{request_id}")
        heard = await asyncio.gather(*tasks)
    assert all(names[-1] == "event: cancelled" for names in heard)


def test_an_import_is_all_or_nothing_and_exports_come_back(appliance: Running) -> None:
    with appliance.client() as client:
        bad = "question,answer\nfine?,yes\n,missing question\n"
        refused = client.post(
            "/api/faq/import", content=bad.encode(), headers={"Content-Type": "text/csv"}
        )
        assert refused.status_code == 400
        assert refused.json()["error"]["errors"][0]["line"] == 3
        good = 'question,answer\n"Where, exactly, is it?","In ""B1"".\nSecond line."\n'
        taken = client.post(
            "/api/faq/import", content=good.encode(), headers={"Content-Type": "text/csv"}
        )
        report = taken.json()
        assert [report[name] for name in ("created", "updated", "unchanged")] == [1, 0, 0]
        for form, kind in (("csv", "text/csv"), ("jsonl", "application/jsonl")):
            exported = client.get("/api/faq/export", params={"format": form})
            back = client.post(
                "/api/faq/import", content=exported.content, headers={"Content-Type": kind}
            ).json()
            assert back["created"] == back["updated"] == 0
            assert back["unchanged"] > 0


def test_the_demo_faq_is_loaded_once(appliance: Running) -> None:
    with appliance.client() as client:
        first = client.post("/api/faq/demo").json()
        assert first["created"] >= 40
        assert client.post("/api/faq/demo").json()["unchanged"] == first["created"]
        entries = client.get("/api/faq", params={"language": "zh", "limit": 500}).json()["items"]
    assert len(entries) >= 20


def test_the_openapi_document_names_every_path(appliance: Running) -> None:
    with appliance.client() as client:
        document = client.get("/schema/openapi.json").json()
    for path in (
        "/healthz",
        "/readyz",
        "/v1/chat/completions",
        "/v1/models",
        "/v1/embeddings",
        "/api/sessions",
        "/api/faq",
        "/api/status",
    ):
        assert path in document["paths"], path


def test_server_sent_events_are_parsed_like_a_browser_would() -> None:
    lines = iter([": keep-alive", "", "id: 1-0", "event: delta", 'data: {"text": "a: b"}', ""])
    assert list(parse(lines)) == [Event("1-0", "delta", {"text": "a: b"})]
