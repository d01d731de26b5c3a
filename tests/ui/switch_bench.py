"""`make bench-switch`: what it costs to show another session in the terminal UI.

Sessions of many turns of Markdown are shown in turn, for the first time and again; each switch
counts from the key to the frame that shows the end of the conversation, in CPU time of the UI's
process. The fixed peer is one answer of the same text, from mounting its Markdown to the frame
that shows it: a machine twice as fast halves both, so the ratio says something anywhere.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from stub_api import NOW_MS, StubApi
from textual.screen import Screen
from ui_driver import Driven, running

from appliance.schema.conversations import Turn
from ui.collecting import Collector, by_hand
from ui.turns import from_store
from ui.widgets.turn_view import TurnView

SIZE = (120, 40)
ANSWER = """To reset your password:

1. Open **Settings** and choose *Account*.
2. Press `Reset`, then enter the code.

| Step | Where | 时间 |
|---|---|---|
| Reset | Settings | 1 分钟 |
| Confirm | Mail | 2 分钟 |

密码至少需要十二个字符，并且不能与最近用过的相同。

```python
def reset(user: str) -> None:
    for one in range(10):
        print("ok", one)
```

- first
- second with `code`

> A note at the end: {end}
"""


def turn(session: int, number: int) -> Turn:
    end = f"END-{session}-{number}"
    return Turn(
        id=f"r-{session}-{number}",
        created_at_ms=NOW_MS + number,
        question=f"Question {number}?",
        answer=ANSWER.format(end=end),
        state="done",
    )


class Frames:
    """Hears of every frame the screen paints; looking at one is not counted."""

    def __init__(self, sluice: Driven, collector: Collector) -> None:
        self._sluice = sluice
        self._collector = collector
        self._wanted = ""
        self._seen = asyncio.Event()
        self._looking_s = 0.0
        self.cpu_s = 0.0

    async def until(self, wanted: str, act: Callable[[], Awaitable[object]]) -> float:
        """CPU milliseconds from `act` to the frame that shows `wanted`."""
        self._wanted, self._looking_s = wanted, 0.0
        self._seen.clear()
        self._collector.touched()  # by the key that has it shown
        begun_s = time.process_time()
        await act()
        async with asyncio.timeout(60):
            await self._seen.wait()
        return 1000 * (self.cpu_s - begun_s)

    def painted(self) -> None:
        now_s = time.process_time()
        if self._wanted and self._wanted in self._sluice.text:
            self._wanted = ""
            self.cpu_s = now_s - self._looking_s
            self._seen.set()
        self._looking_s += time.process_time() - now_s


async def measure(turns: int, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"one answer": [], "first time": [], "again": []}
    collector = Collector()
    with StubApi() as api, by_hand():
        api.add_entry("What is this?", "A test.")
        for number in range(rounds):
            made = [turn(number, one) for one in range(turns)]
            api.add_session(f"Session {number}", *made, minutes_ago=number)
        async with running(api, width=SIZE[0], height=SIZE[1], collector=collector) as sluice:
            await sluice.sees("ready", f"Session {rounds - 1}")
            frames = Frames(sluice, collector)
            refresh = Screen._compositor_refresh

            def painted(screen: Screen[Any]) -> None:  # Any: whatever a screen returns
                refresh(screen)
                frames.painted()

            Screen._compositor_refresh = painted  # type: ignore[method-assign, assignment]
            for number in range(rounds):
                found["one answer"].append(await one_answer(sluice, frames, number))
            sessions = list(api.sessions)
            for at, session_id in enumerate(sessions):
                wanted = f"END-{at}-{turns - 1}"
                # What is read is not what is shown: the turns come first, then the switch.
                await sluice.chat._conversations.load(session_id)
                show = partial(sluice.chat.open_session, session_id)
                found["first time"].append(await frames.until(wanted, show))
                await settled(sluice)
                if at:
                    back = partial(sluice.chat.open_session, sessions[at - 1])
                    wanted = f"END-{at - 1}-{turns - 1}"
                    found["again"].append(await frames.until(wanted, back))
                    await settled(sluice)
            Screen._compositor_refresh = refresh  # type: ignore[method-assign]
    return found


async def one_answer(sluice: Driven, frames: Frames, number: int) -> float:
    view = TurnView(sluice.texts, from_store(turn(99, number)))

    async def mount() -> None:
        await sluice.chat._view.column.mount(view)
        sluice.chat._view.anchor()
        view.answer.draw()

    await settled(sluice)
    # A sketch shows the text too; the quoted block is there only as Markdown.
    spent_ms = await frames.until(f"▌ A note at the end: END-99-{number}", mount)
    await view.remove()
    return spent_ms


async def settled(sluice: Driven) -> None:
    """Until what was put off is done: no answer near the screen is a sketch any more."""
    for _ in range(20):
        await sluice.pilot.pause(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-switch", description="Shows sessions.")
    parser.add_argument("--turns", type=int, default=45, help="turns of each session")
    parser.add_argument("--rounds", type=int, default=8, help="sessions that are visited")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.turns, arguments.rounds))
    peer_ms = statistics.median(found["one answer"])
    say = sys.stdout.write
    say(f"{arguments.rounds} sessions of {arguments.turns} turns, CPU ms, p50 (max)\n")
    for name, values in found.items():
        middle_ms = statistics.median(values)
        ratio = middle_ms / peer_ms
        say(f"  {name:12} {middle_ms:7.1f} ({max(values):.1f})   {ratio:5.2f} of one answer\n")


if __name__ == "__main__":
    main()
