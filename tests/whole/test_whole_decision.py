"""What the FAQ answers alone never meets the queue or a model, and ends like any other answer."""

from collections.abc import Mapping
from typing import Any

import pytest
from conftest import Event, Running, text_of

pytestmark = pytest.mark.integration

ENTRY: dict[str, Any] = {
    "question": "When is the sauna heated?",
    "answer": "On Fridays from 17:00 to 21:30.",
    "phrasings": ["Sauna hours?", "桑拿什么时候开放？"],
}


def add(appliance: Running, *entries: Mapping[str, object]) -> list[str]:
    with appliance.client() as client:
        made = [client.post("/api/faq", json=entry) for entry in entries]
    assert [one.status_code for one in made] == [201] * len(entries)
    return [str(one.json()["id"]) for one in made]


def events(appliance: Running, text: str, session: str = "", **options: Any) -> list[Event]:
    return list(appliance.follow(appliance.ask(text, session, **options)))


def test_the_words_of_a_phrasing_get_the_curated_answer_and_no_model(appliance: Running) -> None:
    (entry_id,) = add(appliance, ENTRY)
    session = appliance.session("ada")
    for text in ("SAUNA HOURS", "桑拿什么时候开放"):
        heard = events(appliance, text, session)
        assert [one.event for one in heard] == ["received", "retrieved", "delta", "done"]
        assert heard[1].data["decision"] == heard[-1].data["decision"] == "direct"
        assert [match["id"] for match in heard[1].data["matches"]] == [entry_id]
        assert text_of(heard) == ENTRY["answer"]
        assert heard[-1].data["usage"]["total_tokens"] == 0
        assert heard[-1].data["model"] == "faq"
    with appliance.client() as client:
        (first, second) = client.get(f"/api/sessions/{session}/turns").json()["items"]
        assert client.delete(f"/api/faq/{entry_id}").status_code == 204
    assert (first["state"], first["answer"], first["decision"]) == (
        "done",
        ENTRY["answer"],
        "direct",
    )
    assert second["matches"][0]["id"] == entry_id
    assert "retrieved" in [one.event for one in events(appliance, "Sauna hours?", session)]
    assert ENTRY["answer"] not in text_of(events(appliance, "Sauna hours?"))


def test_a_direct_answer_does_not_wait_for_those_before_it(appliance: Running) -> None:
    (entry_id,) = add(appliance, ENTRY)
    endless = "#tokens=4000 #slow=20 x"
    running = [appliance.ask(endless, faq=False, max_tokens=4000) for _ in range(13)]
    try:
        assert text_of(events(appliance, "sauna hours")) == ENTRY["answer"]
    finally:
        with appliance.client() as client:
            for request_id in running:
                client.delete(f"/api/requests/{request_id}")
            client.delete(f"/api/faq/{entry_id}")


@pytest.mark.parametrize("change", ["reworded", "deleted"])
def test_an_edit_while_a_question_waits_for_the_model_is_in_its_answer(
    appliance: Running, change: str
) -> None:
    old = {"question": "Who has the loft key?", "answer": "The caretaker keeps it."}
    (entry_id,) = add(appliance, old)
    endless = "#tokens=4000 #slow=20 x"
    running = [appliance.ask(endless, faq=False, max_tokens=4000) for _ in range(13)]
    request_id = appliance.ask("Who is having the key of the loft?")
    follower = appliance.follow(request_id)
    heard = [next(follower)]
    while heard[-1].event != "waiting":
        heard.append(next(follower))
    with appliance.client() as client:
        path = f"/api/faq/{entry_id}"
        if change == "deleted":
            assert client.delete(path).status_code == 204
        else:
            new = old | {"answer": "The night porter keeps it."}
            assert client.put(path, json=new).status_code == 200
        for one in running:
            client.delete(f"/api/requests/{one}")
        heard += follower
        client.delete(path)
    assert "caretaker" not in text_of(heard)
    assert ("night porter" in text_of(heard)) is (change == "reworded")


@pytest.mark.parametrize("change", ["reworded", "deleted"])
def test_later_prompts_hold_nothing_of_an_entry_that_was_changed(
    appliance: Running, change: str
) -> None:
    old = {"question": "Who winds the tower clock?", "answer": "The verger winds it."}
    (entry_id,) = add(appliance, old, ENTRY)[:1]
    session = appliance.session("ada")
    direct = appliance.ask(old["question"], session)
    composed = appliance.ask("Who is winding the clock of the tower?", session)
    for request_id in (direct, composed):
        assert list(appliance.follow(request_id))[-1].event == "done"

    def sent(text: str) -> tuple[Event, dict[str, Any]]:
        request_id = appliance.ask(text, session, json_schema={"type": "object"})
        last = list(appliance.follow(request_id))[-1]
        with appliance.client() as client:
            audit: dict[str, Any] = client.get(f"/api/requests/{request_id}/prompt").json()
        assert audit["exact"]
        return last, audit

    before, told = sent("Sauna hours?")
    assert before.data["cut_turns"] == told["cut_turns"] == 0
    assert "verger" in str(told["messages"])
    with appliance.client() as client:
        path = f"/api/faq/{entry_id}"
        if change == "deleted":
            assert client.delete(path).status_code == 204
        else:
            client.put(path, json=old | {"answer": "The sexton winds it."}).raise_for_status()
    after, told_now = sent("Sauna hours?")
    assert "verger" not in str(told_now["messages"])
    assert after.data["cut_turns"] == told_now["cut_turns"] == 2
    assert [one["content"] for one in told_now["messages"][1:2]] == [
        told["messages"][-1]["content"]
    ], "the turn that rests on another entry is sent as it was"
    with appliance.client() as client:
        turns = client.get(f"/api/sessions/{session}/turns").json()["items"]
        assert turns[-1]["left_out"] == [direct, composed]
        client.delete(f"/api/faq/{entry_id}")
        for one in client.get("/api/faq").json()["items"]:
            client.delete(f"/api/faq/{one['id']}")


def test_whoever_wants_the_model_gets_it(appliance: Running) -> None:
    (entry_id,) = add(appliance, ENTRY)
    raw = events(appliance, "Sauna hours?", faq=False)
    assert raw[-1].data["usage"]["completion_tokens"] > 0
    assert raw[-1].data["decision"] == ""
    shaped = events(appliance, "Sauna hours?", json_schema={"type": "object"})
    assert shaped[-1].data["decision"] == "direct"
    assert shaped[-1].data["usage"]["completion_tokens"] > 0
    with appliance.client() as client:
        client.delete(f"/api/faq/{entry_id}")


def test_a_phrasing_of_two_entries_is_asked_back_in_the_language_of_the_question(
    appliance: Running,
) -> None:
    ids = add(
        appliance,
        {"question": "停车费多少？", "answer": "每小时 3 元。", "phrasings": ["多少钱"]},
        {"question": "打印费多少？", "answer": "每页 0.2 元。", "phrasings": ["多少钱"]},
    )
    heard = events(appliance, "多少钱？")
    assert heard[-1].data["decision"] == "did_you_mean"
    assert {match["id"] for match in heard[1].data["matches"]} == set(ids)
    assert text_of(heard).startswith("您想问的是：\n1. ")
    assert "停车费多少？" in text_of(heard)
    with appliance.client() as client:
        for entry_id in ids:
            client.delete(f"/api/faq/{entry_id}")


def test_a_tried_question_shows_what_would_happen_and_stores_nothing(appliance: Running) -> None:
    (entry_id,) = add(appliance, ENTRY)
    with appliance.client() as client:
        direct = client.post("/api/faq/test", json={"question": "Sauna hours?"}).json()
        assert (direct["decision"], direct["answer"]) == ("direct", ENTRY["answer"])
        assert direct["prompt"] == []
        near = client.post("/api/faq/test", json={"question": "When do they heat the sauna?"})
        tried = near.json()
        assert tried["decision"] == "compose"
        assert [match["id"] for match in tried["matches"]] == [entry_id]
        assert 0 < tried["evidence"] < 1
        assert ENTRY["answer"] in tried["prompt"][-1]["content"]
        assert client.post("/api/faq/test", json={"question": ""}).status_code == 400
        assert client.get("/api/faq/calibration").json()["lexical"] > 0
        assert client.get("/api/status").json()["faq"]["calibration"]["samples"] >= 0
        client.delete(f"/api/faq/{entry_id}")


def test_what_an_answer_cites_is_checked_against_what_was_retrieved(appliance: Running) -> None:
    made = {"question": "Who keeps the boat keys?", "answer": "The harbour office [1], see [7]."}
    (entry_id,) = add(appliance, made)
    session = appliance.session("ada")
    heard = events(appliance, "Who is keeping the keys of the boat?", session)
    expected = [{"number": 1, "entry_id": entry_id}, {"number": 7, "entry_id": ""}]
    assert heard[-1].data["decision"] == "compose"
    assert heard[-1].data["citations"] == expected
    with appliance.client() as client:
        (turn,) = client.get(f"/api/sessions/{session}/turns").json()["items"]
        client.delete(f"/api/faq/{entry_id}")
    assert turn["citations"] == expected


def test_openai_clients_get_direct_answers_too(appliance: Running) -> None:
    (entry_id,) = add(appliance, ENTRY)
    body = {"messages": [{"role": "user", "content": "sauna hours?"}]}
    with appliance.client() as client:
        answer = client.post("/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["content"] == ENTRY["answer"]
        client.delete(f"/api/faq/{entry_id}")
