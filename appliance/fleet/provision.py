"""The models that a start lacks: fetched one after the other, and told about meanwhile.

A life of the appliance whose weights are not here begins without workers. What is fetched is what
the settings name, read anew at every look, so a file that somebody brought along counts too. The
chat model waits until somebody has chosen one, unless the settings name it; a download that is
paused or has failed waits for the operator. When nothing is lacking this life is `complete`, and
the next one has its workers.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.errors import Conflict, Unavailable
from appliance.fleet.downloads import GOING, Downloads

log = logging.getLogger(__name__)

STOPPED: Final = ("paused", "failed")
TELL_S: Final = 10.0
RETRY_S: Final = 10.0
HOW: Final = "F12 in the terminal UI, or /api/setup"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to fetch. `lacking` names the weights that are not here, the chat model first, and reads
    files; `chosen` says whether it is settled which chat model that is. Unattended, a download that
    fails ends the start."""

    lacking: Callable[[], Sequence[str]]
    chosen: Callable[[], Awaitable[bool]]
    unattended: bool


class Provision:
    """Owns what this life lacks. `run` is its task."""

    def __init__(
        self,
        downloads: Downloads,
        wanted: Wanted,
        *,
        lacking: Sequence[str],
        complete: Callable[[], None],
    ) -> None:
        self._downloads = downloads
        self._wanted = wanted
        self._complete = complete
        self._is_settled = False
        self._wake = asyncio.Event()
        self.lacking = tuple(lacking)

    @property
    def is_fetching(self) -> bool:
        """Whether questions may wait for it: it needs nobody to go on."""
        return self._is_settled and self._downloads.status.state not in STOPPED

    @property
    def is_settled(self) -> bool:
        return self._is_settled

    def begin(self) -> None:
        """It is settled what is to be fetched, or something may have been brought along."""
        self._is_settled = True
        self._wake.set()

    def go_on(self) -> None:
        """A download that is paused or has failed is tried again."""
        status = self._downloads.status
        if status.state in STOPPED and status.name in self.lacking:
            self._downloads.start(status.name)

    def standing(self) -> str:
        """What keeps questions from being answered, for people."""
        status = self._downloads.status
        if not self._is_settled and status.state not in GOING:
            return "no model is here yet and none was chosen"
        if status.state == "failed":
            return f"{status.name} was not downloaded: {status.message}"
        if status.state == "paused":
            return f"the download of {status.name} is paused at {status.percent} %"
        if status.state in GOING:
            return f"downloading {status.name}, {status.percent} %"
        return "the models are being fetched"

    def next_step(self) -> str:
        """What somebody has to do; "" when it goes on by itself."""
        return "" if self.is_fetching else f"the operator goes on with {HOW}"

    def refusal(self) -> Unavailable:
        """The error for a question that does not wait."""
        hint = self.next_step() or "try again when it is here"
        return Unavailable(
            self.standing(), hint=hint, reason="models_lacking", retry_after_s=RETRY_S
        )

    async def run(self) -> None:
        """Returns when nothing is lacking any more. Raises Unavailable when nobody attends."""
        loop = asyncio.get_running_loop()
        self._is_settled = self._is_settled or await self._wanted.chosen()

        def ended() -> None:
            loop.call_soon_threadsafe(self._wake.set)

        self._downloads.on_ended(ended)
        try:
            while not (self._is_settled and await self._is_complete()):
                await self._news()
        finally:
            self._downloads.on_ended(None)
        self._complete()

    async def _news(self) -> None:
        """Returns when something has happened; where nobody attends, the log tells meanwhile."""
        while self._wanted.unattended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_S):
                    await self._wake.wait()
                return
            log.info("%s", self.standing())
        await self._wake.wait()

    async def _is_complete(self) -> bool:
        """Looks what is lacking, and fetches the first of it unless that waits for the operator.

        Another download gives way: questions wait for what is lacking.
        """
        self._wake.clear()
        self.lacking = tuple(await asyncio.to_thread(self._wanted.lacking))
        if not self.lacking:
            return True
        first, status = self.lacking[0], self._downloads.status
        if status.state in GOING:
            if status.name not in self.lacking:
                with contextlib.suppress(Conflict):  # it has ended, which wakes this loop
                    self._downloads.pause()
            return False
        if status.name == first and status.state in STOPPED:
            if self._wanted.unattended and status.state == "failed":
                raise Unavailable(
                    status.message,
                    hint=status.hint or "run `sluice models pull` to try again",
                    reason="not_downloaded",
                )
            return False
        log.info("downloading %s", first)
        with contextlib.suppress(Conflict):  # another one began: its end wakes this loop
            self._downloads.start(first)
        return False
