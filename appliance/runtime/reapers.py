"""One reaper per pool: those of earlier lives at the start, others as models are loaded."""

import asyncio
from collections.abc import Callable

from appliance.background.reaper import Reaper
from appliance.schema.status import ChildStatus

DEAD = ("backing_off", "failed")
GONE = (*DEAD, "stopped", "starting")  # the last: what had this name before is no more


class Reapers:
    """Owns the reapers. `run` is their task."""

    def __init__(self, make: Callable[[str], Reaper]) -> None:
        self._make = make
        self._reapers: dict[str, Reaper] = {}
        self._group: asyncio.TaskGroup | None = None
        self._states: dict[str, str] = {}

    def watch(self, pool: str) -> None:
        """Looks after this pool from now on; doing it twice changes nothing."""
        if pool not in self._reapers:
            reaper = self._reapers[pool] = self._make(pool)
            if self._group is not None:
                self._group.create_task(reaper.run(), name=f"reaper {pool}")

    def met(self, status: ChildStatus) -> None:
        """This worker's state as it was before anything was heard of it here."""
        self._states[status.name] = status.state

    def child_changed(self, status: ChildStatus, pool: str) -> None:
        """Hears of every change of every worker: in some of them its process has ended.

        Only what begins counts. A child that starts tells how far it is, and the last of that may
        be heard when its worker reports and works already.
        """
        if self._states.get(status.name) == status.state:
            return
        self._states[status.name] = status.state
        if pool in self._reapers and status.state in GONE:
            died = status.state in DEAD
            words = status.detail if died else ""
            self._reapers[pool].lost(status.name, died=died, words=words)

    async def reap_earlier(self, since_ms: int) -> None:
        """At start with an embedded store: whoever has not reported since is of an earlier life."""
        for reaper in self._reapers.values():
            await reaper.reap_earlier(since_ms)

    async def run(self) -> None:
        """Runs all of them until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for pool, reaper in self._reapers.items():
                group.create_task(reaper.run(), name=f"reaper {pool}")
            await asyncio.Event().wait()
