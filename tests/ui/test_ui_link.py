"""The link watches only while there is something to watch for."""

import asyncio
from collections.abc import Callable

import pytest

from appliance.errors import Unauthorized, Unavailable
from ui.answers import Readiness
from ui.link import STARTING, WATCH_MAX_S, Link, LinkState

pytestmark = pytest.mark.unit

UP = Readiness(ready=True)
AWAY = Unavailable("no connection")


class Server:
    """Answers from a list, the last answer for ever."""

    def __init__(self, *answers: Readiness | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def ask(self) -> Readiness:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def linked(server: Server, told: list[LinkState], pauses: list[float]) -> Link:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    tell: Callable[[LinkState], None] = told.append
    return Link(server.ask, tell=tell, pause=pause)


async def test_it_asks_until_the_server_is_ready_and_then_no_more() -> None:
    loading = Readiness(ready=False, checks={"valkey": "ok", "worker": "loading the model"})
    server, told, pauses = Server(AWAY, AWAY, loading, UP), list[LinkState](), list[float]()
    await linked(server, told, pauses).watch()
    assert told == [LinkState("starting", "worker: loading the model"), LinkState("up")]
    assert server.asked == 4


async def test_a_server_that_was_there_is_away_and_one_never_seen_is_awaited() -> None:
    server, told = Server(AWAY, UP), list[LinkState]()
    link = linked(server, told, [])
    await link.watch()
    link.lost()
    server.answers = [AWAY, UP]
    await link.watch()
    assert [state.kind for state in told] == ["up", "away", "up"]


async def test_of_a_server_that_was_just_started_nobody_is_told_to_start_it() -> None:
    told = list[LinkState]()
    link = Link(Server(AWAY, UP).ask, tell=told.append, begun=STARTING)
    assert link.state.kind == "starting"
    await link.watch()
    assert told == [LinkState("up")]


async def test_the_pauses_grow_to_a_ceiling() -> None:
    pauses: list[float] = []
    await linked(Server(*[AWAY] * 30, UP), [], pauses).watch()
    assert pauses == sorted(pauses)
    assert pauses[-1] == WATCH_MAX_S


async def test_a_refused_key_ends_the_watch() -> None:
    server, told = Server(Unauthorized("no")), list[LinkState]()
    await linked(server, told, []).watch()
    assert told == [LinkState("refused")]
    assert server.asked == 1


async def test_two_watches_are_one() -> None:
    server = Server(AWAY, AWAY, UP)
    link = linked(server, [], [])
    await asyncio.gather(link.watch(), link.watch())
    assert server.asked == 3
