"""What a user may still use: read from Valkey, told to people and in response headers."""

import msgspec

from appliance.access.generations import buckets_of
from appliance.bus import budgets, gates
from appliance.bus.budgets import DAY_S, MINUTE_S, Spent
from appliance.bus.client import AWAY, Bus
from appliance.limiter.rules import priority_of, tier_name, tiers_of
from appliance.people.users import Users
from appliance.schema.status import Limit, Quota
from appliance.settings import Settings

HEADER_KINDS = {"requests_per_minute": "requests", "tokens_per_minute": "tokens"}


class Quotas:
    def __init__(self, bus: Bus, users: Users, settings: Settings) -> None:
        self._bus = bus
        self._users = users
        self._settings = settings
        self._tiers = tiers_of(settings)
        self._buckets = buckets_of(self._tiers)
        self._has_headers = any(
            tier.requests_per_minute or tier.tokens_per_minute for tier in self._tiers.values()
        )

    async def read(self, uid: str) -> Quota:
        """Of any user, known or not."""
        person = await self._users.find(uid)
        name = tier_name(self._settings, person.tags)
        tier = self._tiers[name]
        account = await budgets.account(self._bus, uid)
        held = sum(account.holds.values())
        requests = _limit(
            "requests_per_minute",
            tier.requests_per_minute,
            account.requests,
            MINUTE_S,
            len(account.holds),
        )
        limits = (
            await self._at_the_gate(uid, name, requests),
            _limit("tokens_per_minute", tier.tokens_per_minute, account.tokens, MINUTE_S, held),
            _limit("tokens_per_day", tier.tokens_per_day, account.day, DAY_S, held),
        )
        return Quota(
            uid=uid,
            tier=name,
            priority=priority_of(self._settings, name, "person"),
            weight=tier.weight,
            concurrency=tier.concurrency,
            limits=tuple(limit for limit in limits if limit.limit),
        )

    async def _at_the_gate(self, uid: str, tier: str, requests: Limit) -> Limit:
        """The same where a window or a bucket counts the requests instead of the limiter."""
        limits = self._settings.limiter
        asked = {limits.generation_sessions, limits.generation_v1}
        if "tier" in asked:
            asked |= {one.generation for one in limits.tiers if one.name == tier}
        if not requests.limit or not asked & {"window", "bucket"}:
            return requests
        if "window" in asked:
            window = await gates.taken(self._bus, uid)
            used, reset_s = window.count, window.left_s
        else:  # of a bucket, which all users of the tier share
            left = await gates.left(self._bus, self._buckets[tier])
            used, reset_s = requests.limit - left, MINUTE_S / requests.limit
        left = max(0, requests.limit - used)
        return msgspec.structs.replace(requests, used=used, left=left, reset_s=round(reset_s, 1))

    async def headers(self, uid: str) -> dict[str, str]:
        """As OpenAI names them; none for what is not limited, nor while the store is away: the
        answer they go with is worth more."""
        found: dict[str, str] = {}
        if not self._has_headers:
            return found
        try:
            limits = (await self.read(uid)).limits
        except AWAY:
            return found
        for limit in limits:
            kind = HEADER_KINDS.get(limit.name)
            if kind:
                found[f"x-ratelimit-limit-{kind}"] = str(limit.limit)
                found[f"x-ratelimit-remaining-{kind}"] = str(limit.left)
                found[f"x-ratelimit-reset-{kind}"] = f"{limit.reset_s:.0f}s"
        return found


def _limit(name: str, limit: int, spent: tuple[Spent, ...], period_s: int, reserved: int) -> Limit:
    used = sum(one.amount for one in spent)
    last_s = min((one.ago_s for one in spent), default=float(period_s))
    return Limit(
        name=name,
        limit=limit,
        used=used,
        reserved=reserved,
        left=max(0, limit - used - reserved),
        reset_s=round(max(0.0, period_s - last_s), 1),
    )
