"""The command; see the package."""

import argparse
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx
import platformdirs
from served import served

from import_bench.asking import Asker, table
from import_bench.texts import entries, questions
from models.store import Store

CALIBRATED_TIMEOUT_S = 900.0
LOOK_S = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(prog="import_bench", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="entries that are imported")
    parser.add_argument("--held", type=int, default=500, help="entries that are there before")
    parser.add_argument("--asked", type=int, default=150, help="questions before, and after")
    given = parser.parse_args()
    chance = random.Random(1)
    held = entries(0, given.held, chance)
    with appliance() as client:
        take(client, held)
        calibrated(client, since_ms=0)
        asker = Asker(client, questions(chance), chance)
        asker.ask(10)  # whatever is made at first use
        phases = {"before": asker.ask(given.asked)}
        began_s, began_ms = time.monotonic(), round(time.time() * 1000)
        file = entries(given.held, given.count, chance)
        phases["while it is stored and indexed"] = asker.ask_until(beside(client, file))
        took_s = time.monotonic() - began_s
        phases["while the FAQ is calibrated"] = asker.ask_until(
            in_thread(lambda: calibrated(client, since_ms=began_ms))
        )
        phases["after"] = asker.ask(given.asked)
    say(f"{given.count:,} entries beside {given.held:,}, in {took_s:.0f} s\n")
    say(table(phases))
    return 0


@contextmanager
def appliance() -> Iterator[httpx.Client]:
    """A fresh one with the smallest chat model, which nobody asks, and a client of it."""
    store = Store(platformdirs.user_cache_path("sluice", appauthor=False) / "models")
    settings = f'[models]\ndirectory = "{store.directory}"\nchat = "{store.starter("test-chat")}"\n'
    with (
        served(settings) as running,
        httpx.Client(base_url=running.url, headers=running.headers, timeout=600.0) as client,
    ):
        yield client


def take(client: httpx.Client, lines: Sequence[dict[str, object]]) -> None:
    """Imports and follows the progress, as the UI does, to the end."""
    answer = client.post(
        "/api/faq/import",
        params={"wait": False},
        content="\n".join(map(json.dumps, lines)),
        headers={"Content-Type": "application/jsonl"},
    )
    answer.raise_for_status()
    with client.stream("GET", f"/api/faq/imports/{answer.json()['import_id']}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                last = json.loads(line.removeprefix("data: "))
    if last["state"] != "done":
        raise SystemExit(f"the import did not end: {last}")


def calibrated(client: httpx.Client, *, since_ms: int) -> None:
    """Waits until the FAQ has been calibrated since then."""
    deadline_s = time.monotonic() + CALIBRATED_TIMEOUT_S
    while client.get("/api/faq/calibration").json()["made_at_ms"] <= since_ms:
        if time.monotonic() > deadline_s:
            raise SystemExit("the FAQ was not calibrated")
        time.sleep(LOOK_S)


def beside(client: httpx.Client, lines: Sequence[dict[str, object]]) -> threading.Thread:
    return in_thread(lambda: take(client, lines))


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
