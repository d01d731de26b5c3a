"""The generations of admission besides the limiter service: fixed window and bucket of grants.

Which one a request goes through is chosen by its route, or else by its user's tier. A window
lets in what its minute has room for, by user; a bucket has grants for all users of a tier, for
which they wait in line. Neither knows load: what they let in waits for a worker in the work stream.
"""

import time

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

    def __init__(self, bus: Bus, waiters: Waiters, tiers: dict[str, Tier]) -> None:
        self._bus = bus
        self._waiters = waiters
        self._tiers = tiers

    async def window(self, request: Request, tier: str) -> Admitted | Refused:
        limit = self._tiers[tier].requests_per_minute
        wait_s = await gates.take(self._bus, request.uid, limit) if limit else 0.0
        if wait_s:
            return _refused("requests_per_minute", wait_s)
        return Admitted(waited_ms=0)

    async def bucket(self, request: Request, tier: str) -> Admitted | Refused:
        limits = self._tiers[tier]
        if not limits.requests_per_minute:
            return Admitted(waited_ms=0)
        if self._waiters.waiting(tier) >= limits.waiting:
            return _refused("queue_full", 60 / limits.requests_per_minute)
        since_s = time.monotonic()
        if await self._waiters.grant(tier, (request.deadline_at_ms - now_ms()) / 1000):
            return Admitted(waited_ms=int(1000 * (time.monotonic() - since_s)))
        return _refused("waited_out", 60 / limits.requests_per_minute)


def _refused(reason: Reason, retry_after_s: float) -> Refused:
    return Refused(
        reason=reason, message=MESSAGES[reason], retry_after_s=round(max(1.0, retry_after_s), 1)
    )
