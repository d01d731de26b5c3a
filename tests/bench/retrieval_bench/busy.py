"""An engine that answers without a break, beside which something else is timed."""

import contextlib
import threading
from collections.abc import Iterator

import httpx
import platformdirs
from served import Served, served

from models.store import Store

CALLERS = 2
ANSWER_TOKENS = 256
BEGUN_TIMEOUT_S = 120.0


@contextlib.contextmanager
def busy_engine() -> Iterator[None]:
    """A fresh appliance with the starter model, of which `CALLERS` ask again and again."""
    store = Store(platformdirs.user_cache_path("sluice", appauthor=False) / "models")
    settings = f'[models]\ndirectory = "{store.directory}"\nchat = "{store.starter("chat")}"\n'
    with served(settings) as running:
        begun, ended = threading.Event(), threading.Event()
        callers = [
            threading.Thread(target=_ask, args=(running, begun, ended)) for _ in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        try:
            if not begun.wait(BEGUN_TIMEOUT_S):
                raise SystemExit("the engine did not begin to answer")
            yield
        finally:
            ended.set()
            for caller in callers:
                caller.join()


def _ask(running: Served, begun: threading.Event, ended: threading.Event) -> None:
    asked = 0
    with httpx.Client(base_url=running.url, headers=running.headers, timeout=600.0) as client:
        while not ended.is_set():
            asked += 1
            body = {
                "messages": [{"role": "user", "content": f"Count from {asked} up to a thousand."}],
                "max_tokens": ANSWER_TOKENS,
                "stream": True,
            }
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                for _ in answer.raise_for_status().iter_lines():
                    begun.set()
                    if ended.is_set():
                        return
