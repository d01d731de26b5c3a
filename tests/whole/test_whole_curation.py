"""Curation over HTTP: versions and what is kept of them, files and imports that survive a kill."""

import contextlib
import json
import random
import threading
from pathlib import Path

import httpx
import pytest
from conftest import Running, Start, eventually
from soak import much

pytestmark = pytest.mark.integration


def made(client: httpx.Client, **fields: object) -> dict[str, object]:
    body = {"question": "Where is the key?", "answer": "In room 7."} | fields
    answer = client.post("/api/faq", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["ETag"] == '"1"'
    return dict(answer.json())


def test_two_people_edit_one_entry_and_neither_text_is_lost(appliance: Running) -> None:
    with appliance.client() as client:
        path = f"/api/faq/{made(client)['id']}"
        tag = client.get(path).headers["ETag"]
        first = client.put(
            path, json={"question": "钥匙？", "answer": "8 号房间"}, headers={"If-Match": tag}
        )
        assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
        yours = {"question": "Where is the key?", "answer": "In room 9."}
        late = client.put(path, json=yours, headers={"If-Match": tag})
        assert late.status_code == 409
        error = late.json()["error"]
        assert error["reason"] == "edited_since"
        assert (error["stored"]["answer"], error["yours"]["answer"]) == ("8 号房间", "In room 9.")
        assert client.get(path).json()["answer"] == "8 号房间"
        assert client.delete(path, headers={"If-Match": tag}).status_code == 409
        merged = client.put(path, json=yours, headers={"If-Match": '"2"'})
        assert merged.json()["version"] == 3
        assert client.put(path, json=yours, headers={"If-Match": "*"}).json()["version"] == 3


def test_who_wrote_a_version_and_who_imported_is_kept(appliance: Running) -> None:
    with appliance.client() as client:
        keys = {
            name: client.post("/api/keys", json={"role": "admin", "name": name}).json()
            for name in ("Ada", "博")
        }
        by_ada, by_bo = ({"Authorization": f"Bearer {one['key']}"} for one in keys.values())
        path = f"/api/faq/{made(client)['id']}"
        said = {"question": "Where is the key?", "answer": "In room 8."}
        client.put(path, json=said, headers=by_ada).raise_for_status()
        client.delete(path).raise_for_status()
        client.post(f"{path}/restore", json={}, headers=by_bo).raise_for_status()
        versions = client.get(f"{path}/history").json()["items"]
        assert [(one["version"], one["by"]) for one in versions] == [
            (3, "博"),
            (2, "Ada"),
            (1, "admin"),
        ]
        line = json.dumps({"question": "Where is the boat?", "answer": "In room 9."})
        sent = client.post(
            "/api/faq/import",
            content=line.encode(),
            headers=by_ada | {"Content-Type": "application/jsonl"},
        ).json()
        assert client.get(f"/api/faq/imports/{sent['import_id']}").json()["by"] == "Ada"
        (written,) = [
            one
            for one in client.get("/api/faq").json()["items"]
            if one["question"] == "Where is the boat?"
        ]
        assert written["by"] == "Ada"
        for one in keys.values():
            client.delete(f"/api/keys/{one['id']}").raise_for_status()


def test_an_entry_goes_back_and_a_deleted_one_comes_back(appliance: Running) -> None:
    question = "What is the colour of the boathouse?"
    with appliance.client() as client:
        path = f"/api/faq/{made(client, question=question, answer='Red.')['id']}"
        client.put(path, json={"question": question, "answer": "Blue."})
        versions = client.get(f"{path}/history").json()["items"]
        assert [(v["version"], v["answer"], v["current"]) for v in versions] == [
            (2, "Blue.", True),
            (1, "Red.", False),
        ]
        back = client.post(f"{path}/restore", json={"version": 1})
        assert (back.json()["answer"], back.headers["ETag"]) == ("Red.", '"3"')
        assert client.delete(path).status_code == 204
        assert client.get(path).status_code == 404
        found = client.get("/api/faq/search", params={"q": question}).json()["items"]
        assert "Red." not in [match["answer"] for match in found]
        assert client.get("/api/faq/deleted").json()["items"][0]["answer"] == "Red."
        stale = client.post(f"{path}/restore", json={}, headers={"If-Match": '"1"'})
        assert (stale.status_code, stale.json()["error"]["reason"]) == (409, "edited_since")
        undone = client.post(f"{path}/restore", json={}, headers={"If-Match": '"3"'})
        assert (undone.status_code, undone.json()["version"]) == (200, 4)
        found = client.get("/api/faq/search", params={"q": question}).json()["items"]
        assert found[0]["answer"] == "Red."


@pytest.mark.parametrize("tag", ["", '"x"', "W/1", '"1", "2"', '"-1"', '"99999999999999999"'])
def test_an_etag_that_is_none_of_ours_is_refused(appliance: Running, tag: str) -> None:
    with appliance.client() as client:
        path = f"/api/faq/{made(client)['id']}"
        body = {"question": "q", "answer": "a"}
        answer = client.put(path, json=body, headers={"If-Match": tag})
        assert answer.status_code == 400
        assert "ETag" in answer.json()["error"]["hint"]


@pytest.mark.parametrize("body", [{"version": 0}, {"version": "x"}, {"other": 1}, [], {}])
def test_a_restore_that_makes_no_sense_is_refused(appliance: Running, body: object) -> None:
    with appliance.client() as client:
        path = f"/api/faq/{made(client)['id']}/restore"
        answer = client.post(path, json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]
        assert client.post("/api/faq/nobody/restore", json={}).status_code == 404


def test_drafts_are_listed_alone(appliance: Running) -> None:
    with appliance.client() as client:
        body = {"question": "Not yet?", "answer": "No.", "state": "draft"}
        draft = client.post("/api/faq", json=body).json()
        published = made(client)
        listed = {
            state: {
                entry["id"]
                for entry in client.get("/api/faq", params={"state": state, "limit": 500}).json()[
                    "items"
                ]
            }
            for state in ("draft", "published")
        }
        assert draft["id"] in listed["draft"] - listed["published"]
        assert published["id"] in listed["published"] - listed["draft"]
        assert client.get("/api/faq", params={"state": "half"}).status_code == 400


TYPES = {
    "csv": "text/csv",
    "jsonl": "application/jsonl",
    "markdown": "text/markdown",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@pytest.mark.parametrize("form", TYPES)
def test_an_export_in_every_form_is_taken_back_unchanged(appliance: Running, form: str) -> None:
    with appliance.client() as client:
        client.post("/api/faq/demo")
        exported = client.get("/api/faq/export", params={"format": form})
        assert exported.headers["content-type"].partition(";")[0] == TYPES[form]
        count = len(client.get("/api/faq", params={"limit": 500}).json()["items"])
        kind = {"Content-Type": TYPES[form]}
        back = client.post("/api/faq/import", content=exported.content, headers=kind).json()
        assert (back["created"], back["updated"], back["unchanged"]) == (0, 0, count)


def test_a_dry_run_stores_nothing_and_names_lines(appliance: Running) -> None:
    page = "# FAQ\n\n## 新问题在哪里？\n这里。\n\n## Empty\n\n## Where is the key?\nNobody knows.\n"
    with appliance.client() as client:
        made(client)
        before = client.get("/api/status").json()["faq"]["entries"]
        answer = client.post(
            "/api/faq/import",
            params={"dry_run": True},
            content=page.encode(),
            headers={"Content-Type": "text/markdown"},
        )
        outcome = answer.json()
        assert (answer.status_code, outcome["dry_run"], outcome["import_id"]) == (200, True, "")
        assert (outcome["created"], outcome["updated"]) == (1, 1)
        assert [error["line"] for error in outcome["errors"]] == [6]
        assert [(c["line"], c["kind"]) for c in outcome["conflicts"]] == [(8, "same_question")]
        assert client.get("/api/status").json()["faq"]["entries"] == before


def test_the_progress_of_an_import_is_followed(appliance: Running) -> None:
    lines = [{"question": f"What is item {n}?", "answer": f"It is {n}."} for n in range(50)]
    body = "\n".join(map(json.dumps, lines))
    with appliance.client() as client:
        answer = client.post(
            "/api/faq/import",
            params={"wait": False},
            content=body,
            headers={"Content-Type": TYPES["jsonl"]},
        ).json()
        path = f"/api/faq/imports/{answer['import_id']}"
        with client.stream("GET", f"{path}/events") as stream:
            events = [json.loads(t[6:]) for t in stream.iter_lines() if t.startswith("data: ")]
        assert (events[-1]["state"], events[-1]["indexed"], events[-1]["entries"]) == (
            "done",
            50,
            50,
        )
        assert client.get(path).json() == events[-1]
        assert answer["import_id"] in [
            job["id"] for job in client.get("/api/faq/imports").json()["items"]
        ]
        assert client.get("/api/faq/imports/nothing").status_code == 404
        assert client.get("/api/faq/imports/nothing/events").status_code == 404


IMPORTED = much(400, 2000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(much(2, 3)))  # 0 dies late, 1 early
def test_an_import_is_there_whole_or_not_at_all_whenever_the_parent_dies(
    launch: Start, tmp_path: Path, seed: int
) -> None:
    """Killed between two points of the import, and once more while it is being indexed."""
    chance = random.Random(seed)
    entries = IMPORTED
    lines = [{"question": f"What is item {n}?", "answer": f"It is {n}."} for n in range(entries)]
    body = "\n".join(map(json.dumps, lines)).encode()
    running = launch(tmp_path, "--engine", "fake")
    process = running.process

    def kill() -> None:
        process.kill()

    timer = threading.Timer(chance.uniform(0.0, 0.0003 * entries), kill)
    with running.client() as client:
        timer.start()
        with contextlib.suppress(httpx.TransportError):
            client.post(
                "/api/faq/import",
                params={"wait": False},
                content=body,
                headers={"Content-Type": TYPES["jsonl"]},
            )
    timer.join()
    process.wait()
    again = launch(tmp_path, "--engine", "fake")
    with again.client() as client:
        count = client.get("/api/status").json()["faq"]["entries"]
        jobs = client.get("/api/faq/imports").json()["items"]
        assert (count, len(jobs)) in ((0, 0), (entries, 1))
    if count:
        again.process.kill()
        again.process.wait()
        again = launch(tmp_path, "--engine", "fake")
    with again.client() as client:
        repeated = client.post(
            "/api/faq/import", content=body, headers={"Content-Type": TYPES["jsonl"]}
        ).json()
        assert repeated["created"] + repeated["unchanged"] == entries
        assert repeated["created"] in (0, entries)

        def all_indexed() -> bool:
            items = client.get("/api/faq/imports").json()["items"]
            return [(j["state"], j["indexed"]) for j in items] == [("done", entries)]

        eventually(all_indexed, "the import is indexed")
        asked = f"What is item {chance.randrange(entries)}?"
        found = client.get("/api/faq/search", params={"q": asked}).json()["items"]
        assert found[0]["question"] == asked


def test_who_asked_in_vain_is_told_when_there_is_an_answer(launch: Start, tmp_path: Path) -> None:
    """Two people miss, one action makes an entry, both hear, and the next one is answered.

    On an appliance of its own: beside thousands of entries alike, which other tests leave, the
    fake embeddings find something near everything.
    """
    tmp_path.chmod(0o700)
    appliance = launch(tmp_path, "--engine", "fake")
    question = "xylophone quartz vortex jigsaw?"
    with appliance.client() as client:
        for uid in ("vain-a", "vain-b"):
            appliance.answer(question, appliance.session(uid))

        def grouped() -> bool:
            found = client.get("/api/faq/misses").json()["items"]
            return any(m["question"] == question and m["count"] == 2 for m in found)

        eventually(grouped, "the misses are grouped")
        (miss,) = [
            m for m in client.get("/api/faq/misses").json()["items"] if m["question"] == question
        ]
        assert {asker["uid"] for asker in miss["askers"]} == {"vain-a", "vain-b"}
        path = f"/api/faq/misses/{miss['id']}"
        draft = client.post(f"{path}/draft")
        assert draft.status_code == 202
        assert list(appliance.follow(draft.json()["request_id"]))[-1].event == "done"
        made = client.post(f"{path}/promote", json={"answer": "It is in the attic."})
        assert made.status_code == 201, made.text
        for uid in ("vain-a", "vain-b"):

            def told(uid: str = uid) -> bool:
                inbox = client.get(f"/api/users/{uid}/inbox").json()["items"]
                return [m["text"] for m in inbox if m["kind"] == "answer_found"] == [
                    "It is in the attic."
                ]

            eventually(told, f"{uid} hears of the answer")
        assert client.get(path).json()["state"] == "promoted"
        events = list(appliance.follow(appliance.ask(question)))
        (found,) = [event for event in events if event.event == "retrieved"]
        assert found.data["matches"][0]["id"] == made.json()["id"]


def test_thumbs_stay_with_the_turn_and_count_for_the_entry(appliance: Running) -> None:
    with appliance.client() as client:
        entry = made(client, question="When does the observatory open?", answer="At 21:00.")
        session = appliance.session("thumbs")
        request_id = appliance.ask("When does the observatory open?", session)
        assert list(appliance.follow(request_id))[-1].event == "done"
        path = f"/api/requests/{request_id}/feedback"
        assert client.post(path, json={"thumb": "up"}).status_code == 204
        down = client.post(path, json={"thumb": "down", "comment": "已经改了时间"})
        assert down.status_code == 204
        (turn,) = client.get(f"/api/sessions/{session}/turns").json()["items"]
        assert turn["thumb"] == "down"

        def counted() -> bool:
            stats = client.get(f"/api/faq/{entry['id']}").json()["stats"]
            return (stats["hits"], stats["up"], stats["down"]) == (1, 0, 1)

        eventually(counted, "the thumb is counted")

        def among_misses() -> bool:
            found = client.get("/api/faq/misses").json()["items"]
            return any(m["reasons"].get("thumbs_down") == 1 for m in found)

        eventually(among_misses, "a thumb down is a miss")
        assert client.post(path, json={"thumb": "sideways"}).status_code == 400
        unknown = "/api/requests/x0-0/feedback"
        assert client.post(unknown, json={"thumb": "up"}).status_code == 404
        running = appliance.ask("#tokens=500 #slow=50 long", faq=False, max_tokens=500)
        early = client.post(f"/api/requests/{running}/feedback", json={"thumb": "up"})
        assert early.status_code == 409
        client.delete(f"/api/requests/{running}")


def test_a_thumb_on_a_list_to_pick_from_is_no_vote_for_what_was_offered(
    appliance: Running,
) -> None:
    with appliance.client() as client:
        entries = [
            made(client, question=question, phrasings=["Where do I moor the gondola?"])
            for question in ("Where is the pier for gondolas?", "Who may moor in the lagoon?")
        ]
        session = appliance.session("thumbs-list")
        request_id = appliance.ask("Where do I moor the gondola?", session)
        assert list(appliance.follow(request_id))[-1].data["decision"] == "did_you_mean"
        path = f"/api/requests/{request_id}/feedback"
        assert client.post(path, json={"thumb": "up"}).status_code == 204
        for entry in entries:
            assert client.get(f"/api/faq/{entry['id']}").json()["stats"]["up"] == 0


def test_a_near_entry_is_named_and_not_refused(appliance: Running) -> None:
    with appliance.client() as client:
        first = made(client, question="How do I rent a canoe at the lake?")
        second = made(client, question="How do I rent a canoe at the lake??")
        assert [near["id"] for near in second["near"]][:1] == [first["id"]]  # type: ignore[attr-defined]
        lines = [
            {"question": "How do I rent the canoe at the lake?", "answer": "x"},
            {"question": "How do I rent the canoe at the lakes?", "answer": "y"},
        ]
        outcome = client.post(
            "/api/faq/import",
            params={"dry_run": True},
            content="\n".join(map(json.dumps, lines)),
            headers={"Content-Type": TYPES["jsonl"]},
        ).json()
        assert outcome["checked_lines"] == 2
        assert {(d["line"], d["other_line"]) for d in outcome["duplicates"]} >= {(1, 0), (2, 1)}


def test_a_change_that_breaks_a_saved_question_is_shown(appliance: Running) -> None:
    question = "Which gate leads to the orchard?"
    with appliance.client() as client:
        entry = made(client, question=question, answer="Gate 3.")
        saved = client.post(
            "/api/faq/regressions", json={"question": question, "entry_id": entry["id"]}
        )
        assert saved.status_code == 201
        assert saved.json()["outcome"]["passed"]
        path = "/api/faq/regressions/preview"
        edit = {"question": "When is the harvest?", "answer": "In September."}
        seen = client.post(path, params={"entry_id": str(entry["id"])}, json=edit)
        assert [flip["id"] for flip in seen.json()["flips"]] == [saved.json()["id"]], seen.text
        assert client.post(path, json=edit).json()["flips"] == []
        assert client.post(path, params={"entry_id": "nobody"}, json=edit).status_code == 404
        assert client.get(f"/api/faq/{entry['id']}").json()["question"] == question
        client.delete(f"/api/faq/{entry['id']}")
        client.post("/api/faq/regressions/run")
        runs = client.get("/api/faq/regressions/runs").json()["items"]
        flips = [flip["id"] for run in runs for flip in run["flips"]]
        assert saved.json()["id"] in flips
        assert client.delete(f"/api/faq/regressions/{saved.json()['id']}").status_code == 204
        bad = client.post("/api/faq/regressions", json={"question": "q", "entry_id": "nobody"})
        assert bad.status_code == 404
