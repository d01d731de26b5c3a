"""Whatever comes in, the answer is 4xx in the one error shape, and the service goes on."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import Running

pytestmark = pytest.mark.integration

SOME = "does-not-exist"

BODIES = [
    ("POST", "/api/sessions", {"uid": "local", "title": "t"}),
    ("PATCH", "/api/sessions/{session}", {"title": "t"}),
    ("POST", "/api/sessions/{session}/messages", {"text": "hi", "faq": True}),
    ("PUT", "/api/users/u1", {"attributes": {"a": "b"}, "tags": ["t"]}),
    ("PATCH", "/api/users/u1", {"attributes": {"a": "b"}}),
    ("POST", "/api/faq", {"question": "q?", "answer": "a."}),
    ("PUT", "/api/faq/{entry}", {"question": "q?", "answer": "a."}),
    (
        "POST",
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "hi"}], "faq": True},
    ),
    ("POST", "/v1/embeddings", {"input": "hi"}),
]

UNKNOWN = [
    ("GET", f"/api/sessions/{SOME}"),
    ("DELETE", f"/api/sessions/{SOME}"),
    ("GET", f"/api/sessions/{SOME}/turns"),
    ("GET", f"/api/requests/{SOME}"),
    ("DELETE", f"/api/requests/{SOME}"),
    ("GET", f"/api/requests/{SOME}/events"),
    ("GET", f"/api/users/{SOME}"),
    ("GET", f"/api/faq/{SOME}"),
    ("DELETE", f"/api/faq/{SOME}"),
    ("GET", "/api/nothing/here"),
    ("GET", "/v1/nothing"),
    ("GET", "/api/faq/%2e%2e%2fadmin.key"),
    ("GET", "/api/sessions/UPPER%00case"),
]

QUERIES = [
    "/api/sessions?uid=Not%20A%20Uid",
    "/api/sessions?uid=local%0A",
    "/api/users/local%0A",
    "/api/sessions?limit=0",
    "/api/sessions?limit=many",
    "/api/sessions?cursor=%21%21",
    "/api/faq?cursor=../../etc",
    "/api/faq?limit=100000",
    "/api/faq/search",
    "/api/faq/search?q=",
    "/api/faq/search?q=" + "x" * 3000,
    "/api/faq/export?format=exe",
    "/api/users",
]


@pytest.fixture(scope="module")
def client(appliance: Running) -> Iterator[httpx.Client]:
    with appliance.client() as made:
        yield made


@pytest.fixture(scope="module")
def ids(appliance: Running, client: httpx.Client) -> dict[str, str]:
    entry = client.post("/api/faq", json={"question": "kept?", "answer": "yes"}).json()["id"]
    return {"session": appliance.session(), "entry": entry}


def check(answer: httpx.Response) -> dict[str, Any]:
    """The answer is a refusal in the one shape."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"].startswith("application/json")
    (error,) = answer.json().values()
    for name in ("code", "message", "hint"):
        assert isinstance(error[name], str)
        assert error[name], name
    for secret in ("Traceback", "site-packages", "/appliance/"):
        assert secret not in answer.text
    return dict(error)


def mutants(body: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Bodies that are wrong in every way, each with the reason."""
    for name in body:
        wrongs: tuple[Any, ...] = (12, 0, 1, None, [], {}, True, "true", {"x": 1}, [[[]]])
        for wrong in wrongs:
            if type(wrong) is type(body[name]) and (not wrong or isinstance(wrong, bool | str)):
                continue
            if name in ("attributes", "tags") and not wrong:
                continue
            yield f"{name} is {wrong!r}", json.dumps(body | {name: wrong}).encode()
        if isinstance(body[name], str):
            yield f"{name} is too long", json.dumps(body | {name: "x" * 70_000}).encode()
    yield "broken JSON", b'{"a": '
    yield "no JSON", b"\x00\x01\x02"
    yield "invalid UTF-8", b'{"text": "\xff\xfe"}'
    yield "a list", b"[]"
    yield "a number", b"7"
    yield "null", b"null"
    yield "a lone surrogate", b'{"question": "\\ud800", "answer": "a", "text": "\\ud800"}'
    yield "not a number", b'{"text": "hi", "temperature": NaN}'
    yield "deep nesting", b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "an endless number", b'{"text": ' + b"9" * 5_000 + b"}"


@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=[f"{m} {p}" for m, p, _ in BODIES])
def test_every_wrong_body_is_refused_in_words(
    client: httpx.Client, ids: dict[str, str], method: str, path: str, body: dict[str, Any]
) -> None:
    path = path.format(**ids)
    headers = {"Content-Type": "application/json"}
    for reason, wrong in mutants(body):
        answer = client.request(method, path, content=wrong, headers=headers)
        assert 400 <= answer.status_code < 500, (
            f"{reason}: {answer.status_code} {answer.text[:200]}"
        )
        check(answer)
    missing = client.request(method, path, content=b"", headers=headers)
    check(missing)
    if path.startswith("/api/") and method != "PATCH":
        check(client.request(method, path, json=body | {"unknown_field": 1}))


@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=[f"{m} {p}" for m, p, _ in BODIES])
def test_fifty_megabytes_are_refused_and_read_to_the_end(
    client: httpx.Client, ids: dict[str, str], method: str, path: str, body: dict[str, Any]
) -> None:
    huge = b'{"text": "' + b"x" * 50_000_000 + b'"}'
    answer = client.request(
        method, path.format(**ids), content=huge, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    check(answer)


def test_fifty_megabytes_without_a_length_are_refused_too(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"title": "'
        for _ in range(50):
            yield b"x" * 1_000_000

    answer = client.post(
        "/api/sessions", content=pieces(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    check(answer)


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_what_does_not_exist_is_not_found(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code in (400, 404)
    check(answer)


@pytest.mark.parametrize("path", QUERIES)
def test_a_wrong_query_is_refused_in_words(client: httpx.Client, path: str) -> None:
    assert check(client.get(path))["code"] == "invalid"


def test_a_wrong_method_is_refused_in_the_same_shape(client: httpx.Client) -> None:
    answer = client.put("/api/sessions", json={})
    assert answer.status_code == 405
    check(answer)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_a_body_of_another_type_is_refused(client: httpx.Client, kind: str) -> None:
    answer = client.post("/api/sessions", content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 415
    check(answer)


def test_an_import_as_json_is_told_what_a_file_may_be(client: httpx.Client) -> None:
    answer = client.post("/api/faq/import", json=[{"question": "q?", "answer": "a."}])
    assert answer.status_code == 415
    hint = check(answer)["hint"]
    assert "text/csv" in hint
    assert "application/json " not in hint


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv", b""),
        ("text/csv", b"\xff\xfe\x00"),
        ("text/csv", b"nonsense\n1\n"),
        ("application/jsonl", b"{}\n"),
        ("application/jsonl", b"[1,2"),
        ("application/json", b"{}"),
        ("text/csv", b"question,answer\n" + b"q,a\n" * 5),
        ("application/jsonl", b'{"question": "' + b"[" * 9_000 + b'"'),
    ],
)
def test_a_wrong_import_is_refused_in_words(client: httpx.Client, kind: str, body: bytes) -> None:
    check(client.post("/api/faq/import", content=body, headers={"Content-Type": kind}))


@pytest.mark.parametrize(
    "last", ["x", "1-", "--", "99999999999999-0", "9" * 20 + "-0", f"0-{2**64}", "1-1-1", "9" * 70]
)
def test_a_foreign_last_event_id_is_refused(
    appliance: Running, client: httpx.Client, last: str
) -> None:
    request_id = appliance.ask("hi")
    list(appliance.follow(request_id))
    check(client.get(f"/api/requests/{request_id}/events", headers={"Last-Event-ID": last}))


@pytest.mark.parametrize("last", ["x", "9" * 20 + "-0", f"0-{2**64}", "9" * 70])
def test_a_foreign_last_event_id_is_refused_of_an_inbox_too(
    appliance: Running, client: httpx.Client, last: str
) -> None:
    headers = {"Last-Event-ID": last}
    check(client.get("/api/users/local/inbox/events", headers=headers))
    assert appliance.answer("still there?"), "one reader's position is nobody else's trouble"


@pytest.mark.parametrize("key", [None, "", "wrong", "Bearer", "Basic abc", "Bearer wrong"])
def test_without_a_valid_key_nothing_but_health_is_answered(
    appliance: Running, key: str | None
) -> None:
    headers = {} if key is None else {"Authorization": key}
    with httpx.Client(base_url=appliance.url) as stranger:
        assert stranger.get("/healthz", headers=headers).status_code == 200
        for path in ("/readyz", "/api/status", "/schema/openapi.json", "/v1/models", "/nothing"):
            answer = stranger.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert check(answer)["code"] == "unauthorized"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


HOSTS = [
    ("127.0.0.1", 200),
    ("localhost", 200),
    ("LOCALHOST:9", 200),
    ("[::1]:80", 200),
    ("evil.example", 403),
    ("127.0.0.1.evil.example", 403),
    ("localhost.", 403),
    ("user@localhost", 403),
    ("localhost/evil", 403),
    ("", 403),
    ("[::1", 403),
    ("2130706433", 403),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_a_foreign_host_is_refused(appliance: Running, host: str, status: int) -> None:
    address = appliance.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.putrequest("GET", "/api/status", skip_host=True)
    connection.putheader("Host", host)
    connection.putheader("Authorization", f"Bearer {appliance.key}")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == status, answer.read()
    connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_web_page_of_somebody_else_is_refused(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    assert client.get("/api/status", headers=headers).status_code == 403


def test_after_all_that_it_still_answers(appliance: Running) -> None:
    assert appliance.answer("are you well?")
