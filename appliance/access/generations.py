"""The generations of admission besides the limiter service: fixed window and bucket of grants.

Which one a request goes through is chosen by its route, or else by its user's tier. A window
lets in what its minute has room for, by user; a bucket has grants for all users of a tier, for
which they wait in line. Neither knows load: what they let in waits for a worker in the work stream.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine

from appliance.bus import gates
from appliance.bus.client import Bus
from appliance.bus.gates import Bucket
from appliance.clock import now_ms
from appliance.limiter.tiers import Tier
from appliance.limiter.verdict import MESSAGES, Reason
from appliance.limiter.waiters import Waiters
from appliance.schema.events import Admitted, Refused
from appliance.schema.requests import Request
from appliance.settings.limiter import Generation, Limiter


def generation_of(limits: Limiter, request: Request, tier: str) -> Generation:
    """The route's, or the tier's where the route says nothing."""
    route = limits.generation_sessions if request.session_id else limits.generation_v1
    chosen = [one.generation for one in limits.tiers if one.name == tier]
    named: Generation = chosen[0] if chosen else "service"
    return named if route == "tier" else route


def buckets_of(tiers: dict[str, Tier]) -> dict[str, Bucket]:
    """One for each tier with a limit; without one nobody has to wait."""
    return {
        name: Bucket(name, tier.requests_per_minute, tier.requests_per_minute)
        for name, tier in tiers.items()
        if tier.requests_per_minute
    }


class Gates:
    """Asks window or bucket for one request. Raises what the store raises."""

    def __init__(
        self, bus: Bus, waiters: Waiters, tiers: dict[str, Tier], *, queue_bound: int
    ) -> None:
        """`queue_bound`: most that wait for one tier's grants."""
        self._queue_bound = queue_bound
        self._bus = bus
        self._waiters = waiters
        self._tiers = tiers

    async def window(self, request: Request, tier: str) -> Admitted | Refused:
        limit = self._tiers[tier].requests_per_minute
        wait_s = await gates.take(self._bus, request.uid, limit) if limit else 0.0
        if wait_s:
            return _refused("requests_per_minute", wait_s)
        return Admitted(waited_ms=0)

    async def bucket(
        self, request: Request, tier: str, ended: Callable[[], Awaitable[object]]
    ) -> Admitted | Refused | None:
        """None when `ended` returns first: the request's place in the line goes to the next.

        Who is let in and cannot make use of it any more calls `give_back`.
        """
        limits = self._tiers[tier]
        if not limits.requests_per_minute:
            return Admitted(waited_ms=0)
        every_s = 60 / limits.requests_per_minute
        if self._waiters.waiting_of(tier, request.uid) >= limits.waiting:
            return _refused("user_queue_full", every_s)
        if self._waiters.waiting(tier) >= self._queue_bound:
            return _refused("queue_full", every_s)
        since_s = time.monotonic()
        left_s = (request.deadline_at_ms - now_ms()) / 1000
        granted = await _before(ended, self._waiters.grant(tier, request.uid, left_s))
        if granted is None:
            return None
        if granted:
            return Admitted(waited_ms=int(1000 * (time.monotonic() - since_s)))
        return _refused("waited_out", every_s)

    async def give_back(self, tier: str) -> None:
        """A grant of this tier's bucket was not used."""
        if self._tiers[tier].requests_per_minute:
            await self._waiters.give_back(tier)


async def _before(
    ended: Callable[[], Awaitable[object]], grant: Coroutine[object, object, bool]
) -> bool | None:
    """What came of a grant; None when `ended` returned before, and the grant is given up."""
    granting, ending = asyncio.ensure_future(grant), asyncio.ensure_future(ended())
    try:
        await asyncio.wait((granting, ending), return_when=asyncio.FIRST_COMPLETED)
        if granting.done():
            return granting.result()
        await ending
        return None
    finally:
        granting.cancel()
        ending.cancel()
        await asyncio.gather(granting, ending, return_exceptions=True)


def _refused(reason: Reason, retry_after_s: float) -> Refused:
    return Refused(
        reason=reason, message=MESSAGES[reason], retry_after_s=round(max(1.0, retry_after_s), 1)
    )
