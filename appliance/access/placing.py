"""Step 6: puts finished work before the worker the placement loop names, or before all.

The loop is asked only while it says that it is there and the pool has a choice to make; an
answer that does not come in time costs `placement.answer_timeout_s` and the affinity, nothing else.
While no worker has room the loop holds a few requests, `placement.hold_s` at most.
"""

import msgspec

from appliance.bus import placing, work
from appliance.bus.client import Bus
from appliance.bus.placing import Told
from appliance.placement.choice import Placements
from appliance.placement.prefixes import prefix_of
from appliance.schema.requests import Work
from appliance.settings.inference import Placement


class Placing:
    """Hands work over. It keeps nothing."""

    def __init__(self, bus: Bus, settings: Placement) -> None:
        self._bus = bus
        self._placements = Placements(bus, settings.policy)
        self._timeout_s = settings.answer_timeout_s
        self._hold_s = settings.hold_s

    async def hand_over(self, finished: Work, pool: str) -> None:
        worker_id = await self._worker_for(finished, pool)
        body = msgspec.json.encode(finished)
        await work.hand_over(self._bus, pool, finished.request_id, body, worker_id)

    async def _worker_for(self, finished: Work, pool: str) -> str:
        status = await self._placements.told()
        if pool not in status.pools or status.policy == "pull":
            return ""
        prefix = prefix_of(finished.messages, finished.uid)
        wanted = Told(
            kind="wanted",
            request_id=finished.request_id,
            pool=pool,
            session_id=finished.session_id,
            input_tokens=prefix.tokens,
            blocks=prefix.blocks,
            history=prefix.history,
        )
        return await placing.asked(self._bus, wanted, self._timeout_s, self._hold_s)
