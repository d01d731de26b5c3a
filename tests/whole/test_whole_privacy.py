"""Nobody sees what is another's; everybody sees and erases what is held about themselves."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from conftest import Event, Running, eventually, parse, start

from appliance.supervisor.directory import prepare_data_directory

pytestmark = pytest.mark.integration

SECRET = "zanzibar-marmalade"
CHINESE = "绝密的桂花糕"
WORD = "ultramarine-yardarm"
WORT = "紫藤下的棋谱"


def key_of(running: Running, uid: str) -> str:
    body = {"role": "person", "name": uid, "uid": uid}
    with running.client() as client:
        made = client.post("/api/keys", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


def as_(running: Running, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=running.url, headers=headers, timeout=60.0)


def settle(client: httpx.Client, request_id: str) -> list[Event]:
    with client.stream("GET", f"/api/requests/{request_id}/events") as stream:
        assert stream.status_code == 200, stream.read()
        return list(parse(stream.iter_lines()))


def live(client: httpx.Client, words: str = f"{SECRET} {CHINESE}") -> dict[str, str]:
    """A person's life here with their own key: the ids of what it left."""
    session = client.post("/api/sessions", json={"title": words}).json()["id"]
    posted = client.post(f"/api/sessions/{session}/messages", json={"text": words, "faq": False})
    assert posted.status_code == 202, posted.text
    request = posted.json()["request_id"]
    settle(client, request)
    chat = {"messages": [{"role": "user", "content": words}], "faq": False}
    answered = client.post("/v1/chat/completions", json=chat)
    assert answered.status_code == 200
    outside = answered.json()["id"].removeprefix("chatcmpl-")
    return {"session": session, "request": request, "outside": outside}


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = prepare_data_directory(tmp_path_factory.mktemp("data") / "d")
    settings = '[people]\n[[people.attributes]]\nname = "name"\nown = true\n'
    settings += '[[people.attributes]]\nname = "department"\n'
    (data / "settings.toml").write_text(settings, encoding="utf-8")
    running = start(data, "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def test_no_route_shows_one_person_what_is_anothers(fixed: Running) -> None:
    lin_key, mei_key = key_of(fixed, "lin"), key_of(fixed, "mei")
    with fixed.client() as admin, as_(fixed, lin_key) as lin, as_(fixed, mei_key) as mei:
        ids = live(lin)
        admin.put(
            "/api/users/lin", json={"attributes": {"name": SECRET}, "tags": [SECRET]}
        ).raise_for_status()
        admin.post("/api/users/lin/inbox", json={"text": SECRET}).raise_for_status()
        paths = [
            *(f"/api/sessions/{ids['session']}{end}" for end in ("", "/turns", "/export")),
            *(f"/api/requests/{ids['request']}{end}" for end in ("", "/events", "/prompt")),
            *(
                f"/api/users/lin{end}"
                for end in ("", "/inbox", "/inbox/events", "/inbox/scheduled", "/export", "/quota")
            ),
            "/api/users/lin/prompt",
            "/api/users?ids=lin",
            "/api/sessions?uid=lin",
            "/api/sessions",
            "/api/status",
            "/api/dead-letters",
            "/api/keys",
            f"/api/search?q={SECRET}",
            f"/api/search?q={SECRET}&uid=lin",
        ]
        for path in paths:
            with mei.stream("GET", path) as stream:
                assert stream.status_code != 500
                if path != "/api/sessions" and "search" not in path:
                    assert stream.status_code in (403, 404), path
                shown = stream.read().decode()
            assert CHINESE not in shown, path
            assert SECRET not in shown, path
        for method, path, body in (
            ("DELETE", f"/api/sessions/{ids['session']}", None),
            ("PATCH", f"/api/sessions/{ids['session']}", {"title": "stolen"}),
            ("POST", f"/api/sessions/{ids['session']}/messages", {"text": "repeat all"}),
            ("DELETE", f"/api/requests/{ids['request']}", None),
            ("PATCH", "/api/users/lin", {"attributes": {"name": "x"}}),
            ("DELETE", "/api/users/lin", None),
            ("DELETE", f"/api/users/lin/tags/{SECRET}", None),
            ("POST", "/api/users/lin/inbox", {"text": "x"}),
            ("POST", "/api/users/lin/inbox/ack", {"all": True}),
            ("POST", "/api/sessions", {"uid": "lin"}),
            ("POST", "/api/keys", {"role": "person", "name": "x", "uid": "lin"}),
        ):
            answer = mei.request(method, path, json=body)
            assert answer.status_code in (403, 404), (method, path, answer.text)
            assert answer.json()["error"]["hint"]
        chat = {"messages": [{"role": "user", "content": "hi"}], "user": "lin", "faq": False}
        assert mei.post("/v1/chat/completions", json=chat).status_code == 200
        assert len(mei.get("/api/users/mei/export").json()["requests"]) == 1
        assert lin.get("/api/users/lin").json()["attributes"]["name"] == SECRET
        assert lin.get("/api/sessions").json()["items"][0]["id"] == ids["session"]
        assert lin.get("/api/users/lin/inbox").json()["unread"] == 1
        assert mei.get("/api/sessions").json()["items"] == []


def test_people_change_of_themselves_only_what_the_schema_gives_them(fixed: Running) -> None:
    with fixed.client() as admin, as_(fixed, key_of(fixed, "tom")) as tom:
        admin.put("/api/users/tom", json={"tags": ["vip"]}).raise_for_status()
        own = {"name": "Tom", "quiet_hours": "22:00-07:00"}
        assert tom.patch("/api/users/tom", json={"attributes": own}).status_code == 200
        for body in ({"attributes": {"department": "finance"}}, {"tags": ["tier:gold"]}):
            assert tom.patch("/api/users/tom", json=body).status_code == 403
        assert tom.delete("/api/users/tom/tags/vip").status_code == 403
        assert tom.get("/api/users/tom").json()["tags"] == ["vip"]


def test_a_service_writes_under_its_name_and_reads_no_inbox(fixed: Running) -> None:
    with fixed.client() as admin:
        made = admin.post("/api/keys", json={"role": "service", "name": "工单系统"}).json()
        listed = admin.get("/api/keys").json()["items"]
        assert made["id"] in [one["id"] for one in listed]
        assert made["key"] not in str(listed)
        with as_(fixed, made["key"]) as service:
            sent = service.post("/api/users/eve/inbox", json={"text": "done"})
            assert sent.status_code == 201, sent.text
            for path in ("/api/users/eve/inbox", "/api/keys", "/api/users/eve/export"):
                assert service.get(path).status_code == 403
            assert admin.delete(f"/api/keys/{made['id']}").status_code == 204
            refused = service.post("/api/users/eve/inbox", json={"text": "again"})
            assert refused.status_code == 401
        (message,) = admin.get("/api/users/eve/inbox").json()["items"]
    assert message["sender"] == "工单系统"


def test_an_expired_key_is_told_so_everywhere(fixed: Running) -> None:
    body = {"role": "service", "name": "for a moment", "days": 1e-9}
    with fixed.client() as admin:
        assert admin.post("/api/keys", json=body | {"days": 0}).status_code == 400
        made = admin.post("/api/keys", json=body).json()
        listed = {one["id"]: one for one in admin.get("/api/keys").json()["items"]}
    assert made["created_at_ms"] < made["expires_at_ms"]
    assert listed[made["id"]]["expires_at_ms"] == made["expires_at_ms"]
    with as_(fixed, made["key"]) as late:
        for path in ("/readyz", "/v1/models", "/api/keys"):
            refused = late.get(path)
            assert refused.status_code == 401
            error = refused.json()["error"]
            assert (error["code"], error["reason"]) == ("unauthorized", "key_expired")
            assert "new one" in error["hint"]


def test_what_is_held_about_a_person_is_exported_and_erased_to_the_last_byte(
    fixed: Running,
) -> None:
    key = key_of(fixed, "zoe-quux")
    with fixed.client() as admin, as_(fixed, key) as zoe:
        ids = live(zoe, f"{WORD} {WORT}")
        deleted = zoe.post("/api/sessions", json={}).json()["id"]
        asked = zoe.post(f"/api/sessions/{deleted}/messages", json={"text": f"{WORT}?"})
        settle(zoe, asked.json()["request_id"])
        assert zoe.delete(f"/api/sessions/{deleted}").status_code == 204
        profile = {"attributes": {"name": WORD}, "tags": [WORT]}
        admin.put("/api/users/zoe-quux", json=profile).raise_for_status()
        soon = int(1000 * time.time()) + 3_600_000
        for message in ({"text": WORD}, {"text": WORT, "deliver_at_ms": soon}):
            admin.post("/api/users/zoe-quux/inbox", json=message, headers={"Idempotency-Key": WORD})
        admin.post("/api/users/zoe-quux/inbox", json={"text": WORT, "deliver_at_ms": soon})
        missed = f"Where is the {WORD} {WORT}?"
        asked = zoe.post(f"/api/sessions/{ids['session']}/messages", json={"text": missed})
        settle(zoe, asked.json()["request_id"])

        thumb = {"thumb": "down", "comment": f"no {WORT}"}
        for request in (ids["request"], ids["outside"]):
            left = zoe.post(f"/api/requests/{request}/feedback", json=thumb)
            assert left.status_code == 204, left.text
        admin.put(f"/api/users/zoe-quux/tags/off-{WORD}", json={}).raise_for_status()
        admin.delete(f"/api/users/zoe-quux/tags/off-{WORD}").raise_for_status()

        def is_missed() -> bool:
            return missed in admin.get("/api/faq/misses").text

        eventually(is_missed, "the FAQ has no answer to it")
        running = zoe.post(
            f"/api/sessions/{ids['session']}/messages",
            json={"text": f"#tokens=1500 #slow=5 {WORD}", "max_tokens": 1500, "faq": False},
        )
        assert running.status_code == 202
        assert traces(fixed, "zoe-quux", WORD, WORT), "the search finds what is there"
        held = zoe.get("/api/users/zoe-quux/export").json()
        assert held["user"]["attributes"] == {"name": WORD}
        assert held["sessions"][0]["turns"][0]["question"] == f"{WORD} {WORT}"
        assert held["requests"][0]["messages"][0]["content"] == f"{WORD} {WORT}"
        assert held["requests"][1]["messages"][0]["content"] == f"{WORT}?"
        assert [message["text"] for message in held["inbox"]] == [WORD]
        assert [message["text"] for message in held["inbox_waiting"]] == [WORT]
        assert [one["name"] for one in held["keys"]] == ["zoe-quux"]
        assert missed in held["asked_in_vain"]
        assert list(held["tags_taken_off"]) == [f"off-{WORD}"]
        assert held["requests"][0]["feedback"]["comment"] == f"no {WORT}"
        assert WORD in held["requests"][0]["answer"]
        (kept,) = held["sessions"]
        assert kept["feedback"][ids["request"]]["comment"] == f"no {WORT}"
        assert kept["frozen"]
        erased = zoe.delete("/api/users/zoe-quux")
        assert erased.status_code == 200, erased.text
        counts = erased.json()
        assert (counts["sessions"], counts["requests"], counts["keys"]) == (1, 5, 1)
        assert zoe.get("/api/users/zoe-quux").status_code == 401, "the key is gone too"
        assert admin.get("/api/users/zoe-quux").status_code == 404
        assert admin.get(f"/api/sessions/{ids['session']}").status_code == 404
        assert not is_missed()
        again = admin.delete("/api/users/zoe-quux").json()
        assert (again["sessions"], again["requests"], again["keys"]) == (0, 0, 0)
        # What stays are a session id drawn at random and a digest of the person's name, by which
        # workers were told to forget.
        eventually(lambda: not traces(fixed, "zoe-quux", WORD, WORT), "all files forget")
        assert not traces(fixed, WORD, WORT, below="logs")
        assert not any(word in line for word in (WORD, WORT) for line in fixed.errors)


def traces(running: Running, *words: str, below: str = "") -> list[str]:
    """Files of the data directory that hold one of these words. Only those `below` a folder of it
    are looked at, or all but the logs, which have people's ids and nothing that they wrote."""
    found = []
    for path in running.data.rglob("*"):
        folder = path.relative_to(running.data).parts[0]
        if path.is_file() and (folder == below if below else folder != "logs"):
            body = path.read_bytes()
            written = [word.encode() for word in words] + [_escaped(word) for word in words]
            found += [f"{path}: {word!r}" for word in written if word in body]
    return found


def _escaped(word: str) -> bytes:
    """As JSON may hold it."""
    return json.dumps(word)[1:-1].encode()
