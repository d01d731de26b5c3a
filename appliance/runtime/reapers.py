"""One reaper per pool: those of earlier lives at the start, others as models are loaded."""

import asyncio
from collections.abc import Callable

from appliance.background.reaper import Reaper


class Reapers:
    """Owns the reapers. `run` is their task."""

    def __init__(self, make: Callable[[str], Reaper]) -> None:
        self._make = make
        self._reapers: dict[str, Reaper] = {}
        self._group: asyncio.TaskGroup | None = None

    def watch(self, pool: str) -> None:
        """Looks after this pool from now on; doing it twice changes nothing."""
        if pool not in self._reapers:
            reaper = self._reapers[pool] = self._make(pool)
            if self._group is not None:
                self._group.create_task(reaper.run(), name=f"reaper {pool}")

    def lost(self, worker_name: str, pool: str, *, died: bool, words: str = "") -> None:
        """The process of this worker ended."""
        if pool in self._reapers:
            self._reapers[pool].lost(worker_name, died=died, words=words)

    async def reap_everybody(self) -> None:
        """At start with an embedded store every known worker is one of an earlier life."""
        for reaper in self._reapers.values():
            await reaper.reap_everybody()

    async def run(self) -> None:
        """Runs all of them until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for pool, reaper in self._reapers.items():
                group.create_task(reaper.run(), name=f"reaper {pool}")
            await asyncio.Event().wait()
