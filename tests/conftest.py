"""Fixtures every suite may use: a real Valkey, started once, empty for each test."""

import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from appliance.bus.client import Bus, connect
from appliance.supervisor.valkey import find_binary

START_TIMEOUT_S = 10.0

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("sluice", deadline=None)
hypothesis.settings.load_profile("sluice")


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A Valkey of this test session on a unix socket; no TCP port, nothing kept."""
    with tempfile.TemporaryDirectory(prefix="sluice-tests-") as folder:
        path = Path(folder) / "valkey.sock"
        command = [str(find_binary()), "--port", "0", "--unixsocket", str(path), "--save", ""]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as server:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not path.exists():
                assert server.poll() is None, "valkey-server did not start"
                assert time.monotonic() < deadline, "valkey-server did not open its socket"
                time.sleep(0.01)
            yield f"unix://{path}"
            server.kill()


@pytest.fixture
async def bus(valkey_url: str) -> AsyncIterator[Bus]:
    """A client of an empty store."""
    client = connect(valkey_url)
    await client.eval("return redis.call('FLUSHALL')", 0)
    yield client
    await client.aclose()
