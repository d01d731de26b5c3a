"""What the blocking side does when its server misbehaves, against a client with a script."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc  # type: ignore[import-untyped] # grpcio ships no types
import pytest

from appliance.errors import NotFound, SluiceError, Unavailable
from appliance.vectors.index import Index
from appliance.vectors.rows import Nominee, Row

pytestmark = pytest.mark.unit

ROW = Row(pk="e:0", entry_id="e", digest="d", category="", language="", vector=(1.0, 0.0))
DESCRIPTION = {"fields": [{"name": "vector", "params": {"dim": 2}}]}


class RefusedError(Exception):
    """Stands for pymilvus' exception: a code and a message."""

    def __init__(self, code: object, message: str = "no") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class LostError(grpc.RpcError):  # type: ignore[misc] # grpcio ships no types
    pass


class Server:
    """Hands out clients that answer by script; notes every call."""

    def __init__(self, **script: list[Any]) -> None:
        self.script = {"describe_collection": [DESCRIPTION] * 9} | script
        self.calls: list[str] = []
        self.connections = 0

    def MilvusClient(self, **_options: object) -> "Client":  # noqa: N802 # pymilvus' name
        self.connections += 1
        return Client(self)

    def answer(self, name: str) -> Any:
        if name not in ("describe_collection", "close"):
            self.calls.append(name)
        planned = self.script.get(name)
        answer = planned.pop(0) if planned else None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Client:
    def __init__(self, server: Server) -> None:
        self._server = server

    def list_collections(self, **_options: object) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_args, **_options: self._server.answer(name)


@pytest.fixture
def index_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], Index]:
    def build(server: Server) -> Index:
        pymilvus = SimpleNamespace(MilvusClient=server.MilvusClient)
        monkeypatch.setattr("appliance.vectors.index.import_pymilvus", lambda: pymilvus)
        return Index("unix:x", "")

    return build


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def hit(pk: str, score: float) -> dict[str, Any]:
    return {"pk": pk, "distance": score, "entity": {}}


def test_a_row_that_is_answered_twice_counts_once_with_its_best_score(
    index_of: Callable[[Server], Index],
) -> None:
    hits = [hit("a:0", 0.5), hit("b:1", 0.9), hit("a:0", 0.7), hit("a:1", 0.1)]
    index = index_of(Server(search=[[hits]]))
    assert index.search("faq", (1.0, 0.0), soon(), limit=9, condition="") == [
        Nominee("b:1", 0.9),
        Nominee("a:0", 0.7),
        Nominee("a:1", 0.1),
    ]


@pytest.mark.parametrize(
    "loss",
    [LostError(), RefusedError(grpc.StatusCode.UNAVAILABLE), RefusedError(2), RefusedError(101)],
    ids=["rpc", "status", "connect", "not loaded"],
)
def test_a_lost_connection_is_replaced_and_the_call_repeated(
    index_of: Callable[[Server], Index], loss: Exception
) -> None:
    server = Server(upsert=[loss, loss, None])
    index_of(server).upsert("faq", [ROW], soon())
    assert server.calls == ["upsert", "upsert", "upsert"]
    assert server.connections == 3


def test_a_server_that_stays_away_is_unavailable_at_the_deadline(
    index_of: Callable[[Server], Index],
) -> None:
    server = Server(search=[LostError()] * 1_000)
    before = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        index_of(server).search("faq", (1.0, 0.0), soon(0.2), limit=1, condition="")
    assert caught.value.reason == "timeout"
    assert 0.2 <= time.monotonic() - before < 2.0
    assert 3 < server.connections < 20, "pauses grow"


def test_a_call_that_waited_past_its_deadline_is_not_tried(
    index_of: Callable[[Server], Index],
) -> None:
    server = Server()
    with pytest.raises(Unavailable):
        index_of(server).collections(time.monotonic())
    assert server.connections == 0


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [(RefusedError(100, "no faq"), NotFound), (RefusedError(1, "disk full"), Unavailable)],
)
def test_a_refusal_is_told_at_once_and_not_repeated(
    index_of: Callable[[Server], Index], refusal: Exception, kind: type[SluiceError]
) -> None:
    server = Server(upsert=[refusal])
    with pytest.raises(kind, match=str(refusal)):
        index_of(server).upsert("faq", [ROW], soon())
    assert server.calls == ["upsert"]


def test_after_a_failed_write_a_flush_comes_before_the_next_one(
    index_of: Callable[[Server], Index],
) -> None:
    """A torn record in the log hides what is written behind it, unless the log is replaced."""
    server = Server(
        upsert=[RefusedError(1, "disk full"), None, None], flush=[RefusedError(1), None]
    )
    index = index_of(server)
    with pytest.raises(Unavailable):
        index.upsert("faq", [ROW], soon())
    index._client = server.MilvusClient()  # the same server, as far as anybody knows
    with pytest.raises(Unavailable):
        index.upsert("faq", [ROW], soon())
    index._client = server.MilvusClient()
    index.upsert("faq", [ROW], soon())
    index.delete_rows("faq", ["e"], soon())
    assert server.calls == ["upsert", "flush", "flush", "upsert", "delete"]
