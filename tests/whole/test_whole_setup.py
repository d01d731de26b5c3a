"""What the first start asks, over HTTP: models fitted to the machine, downloads, choosing one."""

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Running, Start, eventually

from models.catalogue import shipped

pytestmark = pytest.mark.integration

BIG = shipped().require("qwen3-4b-q4_k_m")


class Trickle(ThreadingHTTPServer):
    """Says that it has the whole file, and sends some of it; `ranges` is what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Trickling)
        self.ranges: list[str] = []
        self.is_open = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that pauses hangs up

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Trickling(BaseHTTPRequestHandler):
    server: Trickle

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        start = int(re.sub(r"\D", "", asked) or 0)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(BIG.size_bytes - start))
        if asked:
            whole = BIG.size_bytes
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        while not self.server.is_open.wait(0.02):
            self.wfile.write(bytes(100_000))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def source() -> Iterator[Trickle]:
    with Trickle() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.is_open.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, source: Trickle) -> Path:
    """A data directory whose settings get weights from `source`, with words of the operator."""
    data = tmp_path_factory.mktemp("setup")
    data.chmod(0o700)
    (data / "settings.toml").write_text(
        f"# Mine.\n[models]\ndirectory = '{data / 'models'}'\nmirror = '{source.url}'\n"
    )
    return data


def setup(running: Running) -> dict[str, Any]:
    with running.client() as client:
        found: dict[str, Any] = client.get("/api/setup").json()
    return found


def told(running: Running, field: str) -> str:
    """A field of it; nothing while the appliance starts anew: it answers 503, or has just closed
    its door."""
    with contextlib.suppress(httpx.TransportError):
        return str(setup(running).get(field, ""))
    return ""


def put(running: Running, **wanted: object) -> httpx.Response:
    with running.client() as client:
        return client.put("/api/setup", json=wanted)


def post(running: Running, path: str, **body: object) -> httpx.Response:
    with running.client() as client:
        return client.post(f"/api/setup/download{path}", json=body or None)


def ready(running: Running) -> bool:
    try:
        with running.client() as client:
            return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_first_start_from_the_questions_to_another_model(
    launch: Start, data: Path, source: Trickle
) -> None:
    running = launch(data, "--engine", "fake")
    found = setup(running)
    assert (found["done"], found["language"], found["entries"]) == (False, "", 0)
    assert found["key_file"] == str(data / "admin.key")
    assert found["machine"]["memory_bytes"] > found["machine"]["cores"] > 0
    models = {one["name"]: one for one in found["models"]}
    assert models["fake"]["chosen"]
    big = models[BIG.name]
    assert big["state"] == "absent"
    assert big["memory_bytes"] > BIG.size_bytes
    assert big["tokens_per_s"] > 0 < big["first_word_s"]
    assert set(big["notes"]) == {"en", "zh"}

    _a_download_is_paused_and_goes_on(running, source)
    _the_answers_are_kept(running, data)
    _another_model_is_taken_into_use(running, data)
    _a_model_that_does_not_start_is_given_up(running, data)
    assert running.stop() == 0
    assert running.output == [f"ready {running.url}\n"]


def _a_download_is_paused_and_goes_on(running: Running, source: Trickle) -> None:
    def download() -> dict[str, Any]:
        return dict(setup(running)["download"])

    assert post(running, "", name=BIG.name).status_code == 202
    eventually(lambda: download()["done_bytes"] > 1_000_000, "some of it arrives")
    assert download()["total_bytes"] == BIG.size_bytes
    refused = post(running, "", name="qwen3-8b-q4_k_m")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert post(running, "/pause").status_code == 202
    eventually(lambda: download()["state"] == "paused", "it is paused")
    row = next(one for one in setup(running)["models"] if one["name"] == BIG.name)
    assert row["state"] == "partial"
    assert row["here_bytes"] > 1_000_000
    assert post(running, "/pause").status_code == 409
    assert post(running, "", name=BIG.name).status_code == 202
    eventually(lambda: len(source.ranges) == 2, "it asks for the rest")
    assert source.ranges == ["", f"bytes={row['here_bytes']}-"]
    eventually(lambda: download()["done_bytes"] > row["here_bytes"], "more of it arrives")


def _the_answers_are_kept(running: Running, data: Path) -> None:
    changed = put(running, done=True, language="zh").json()
    assert (changed["done"], changed["language"], changed["restarting"]) == (True, "zh", False)
    text = (data / "settings.toml").read_text()
    assert text.startswith("# Mine.\n")
    assert 'language = "zh"' in text


def _another_model_is_taken_into_use(running: Running, data: Path) -> None:
    session = running.session()
    unfinished = running.ask("#tokens=60 #slow=20 go on", session)
    answer = put(running, chat="fake-other#load=300").json()
    assert answer["restarting"]
    eventually(lambda: told(running, "chat") == "fake-other", "it starts anew")
    eventually(lambda: ready(running), "the new model is ready")
    found = setup(running)
    assert (found["done"], found["language"], found["trouble"]) == (True, "zh", "")
    assert found["download"]["state"] in ("running", "paused"), "a download outlives it"
    assert list(running.follow(unfinished))[-1].event == "done"
    assert running.answer("hello", session)
    assert 'chat = "fake-other#load=300"' in (data / "settings.toml").read_text()


def _a_model_that_does_not_start_is_given_up(running: Running, data: Path) -> None:
    assert put(running, chat="fake-bad#broken").json()["restarting"]
    eventually(lambda: "broken" in told(running, "trouble"), "the one before is back")
    eventually(lambda: ready(running), "it is ready again")
    assert setup(running)["chat"] == "fake-other"
    assert 'chat = "fake-other#load=300"' in (data / "settings.toml").read_text()
    assert running.answer("hello again")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "", {"done": "yes"}, 400),
        ("PUT", "", {"language": "fr"}, 400),
        ("PUT", "", {"language": None}, 400),
        ("PUT", "", {"finished": True}, 400),
        ("PUT", "", {"chat": ""}, 400),
        ("PUT", "", {"chat": "x" * 201}, 400),
        ("PUT", "", {"chat": "a\nb"}, 400),
        ("PUT", "", {"chat": "Not a fake one"}, 400),
        ("PUT", "", [], 400),
        ("POST", "/download", {"name": "nothing"}, 404),
        ("POST", "/download", {"name": "../../etc/passwd"}, 404),
        ("POST", "/download", {}, 400),
        ("POST", "/download/pause", None, 409),
    ],
)
def test_bad_wishes_are_refused_with_what_to_do(
    appliance: Running, method: str, path: str, body: object, status: int
) -> None:
    with appliance.client() as client:
        answer = client.request(method, f"/api/setup{path}", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"]
    assert error["code"] in ("invalid", "not_found", "conflict")
    assert setup(appliance)["chat"] == "fake"


def test_the_operator_alone_sets_up(appliance: Running) -> None:
    with appliance.client() as client:
        made = client.post("/api/keys", json={"role": "service", "name": "crm"})
        assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    for method, path in (
        ("GET", ""),
        ("PUT", ""),
        ("POST", "/download"),
        ("POST", "/download/pause"),
    ):
        answer = httpx.request(method, f"{appliance.url}/api/setup{path}", headers=headers)
        assert answer.status_code == 403, (method, path, answer.text)


def test_a_model_of_the_command_line_stays(launch: Start, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    running = launch(tmp_path, "--engine", "fake", "--model", "fake-given")
    assert "command line" in setup(running)["fixed"]
    refused = put(running, chat="fake-other")
    assert refused.status_code == 409
    assert refused.json()["error"]["hint"]
    assert "fake-other" not in (tmp_path / "settings.toml").read_text()
    assert put(running, chat="fake-given").status_code == 200


def test_an_appliance_with_a_faq_asks_nothing(launch: Start, tmp_path: Path) -> None:
    running = launch(tmp_path, "--engine", "fake", "--demo-faq")
    assert setup(running)["done"]
    assert not put(running, done=False).json()["done"], "unless it is asked to"
