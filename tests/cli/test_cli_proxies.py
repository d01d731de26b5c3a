"""The key of the operator goes to the appliance of this machine, and to no proxy."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from appliance.cli import doctor
from appliance.cli.faq import reindex
from appliance.errors import Unavailable
from appliance.runtime.options import Options
from appliance.settings import Settings
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.lock import DataLock, Running

pytestmark = pytest.mark.unit


class Refusing(BaseHTTPRequestHandler):
    """Notes who asked for what, and has nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 # the name is http.server's

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_the_key_goes_to_the_appliance_and_not_to_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepare_data_directory(tmp_path)
    (data / "admin.key").write_text("sk-sluice-" + "x" * 30)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    lock = DataLock.take(data)
    try:
        with listening() as appliance, listening() as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
            url = f"http://127.0.0.1:{appliance.server_port}"
            lock.announce(Running(pid=os.getpid(), url=url, started_at_ms=1))
            findings = list(doctor._appliance(Settings(), data))
            with pytest.raises(Unavailable):
                reindex(Options(data=data))
            assert appliance.asked == ["/api/status", "/api/faq/reindex"]  # type: ignore[attr-defined]
            assert proxy.asked == []  # type: ignore[attr-defined]
    finally:
        lock.release()
    assert any("404" in one.found for one in findings)
