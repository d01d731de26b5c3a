"""Tiers: what a kind of user may use, and each user's ledger against it.

A ledger holds the budgets of one user. A request reserves in all of them or in none; it keeps
its `Hold` until that is settled or refunded, in the very budgets it was taken from: the user may
have another tier by then, or no ledger any more. Ledgers of users with nothing reserved and nothing
used are dropped, so memory follows the users of the last day, not all that ever were.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.limiter.budgets import Budget
from appliance.limiter.counts import Counts
from appliance.limiter.verdict import Ask, Reason, Usage

MINUTE_S = 60.0
DAY_S = 86_400.0
LEDGERS_SWEPT_ABOVE = 10_000


@dataclass(frozen=True)
class Tier:
    """Limits of each user of this tier; 0 means without limit. `weight` is a share of service."""

    weight: float = 1.0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    tokens_per_day: int = 0
    concurrency: int = 0
    waiting: int = 64


@dataclass(frozen=True, slots=True)
class Hold:
    """What one request has reserved, and where."""

    tokens: int
    budgets: dict[Reason, Budget]


@dataclass(frozen=True, slots=True)
class Denied:
    reason: Reason
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Quota:
    """One line of a person's limits: what is allowed per period, and what is left of it."""

    name: Reason
    limit: int
    left: int


@dataclass(frozen=True, slots=True)
class Used:
    """What was used of one limit, all of it at most `ago_s` seconds ago."""

    name: Reason
    amount: int
    ago_s: float


@dataclass
class _Ledger:
    """`budgets` are in force; `earlier` ones come back with a tier that has them."""

    tier: Tier
    budgets: dict[Reason, Budget]
    earlier: dict[Reason, Budget] = field(default_factory=dict)

    def moved(self, tier: Tier) -> None:
        """Has the limits of another tier; what was reserved and used stays counted."""
        known = self.earlier | self.budgets
        fresh = _budgets(tier)
        for name in fresh.keys() & known.keys():
            known[name].limit = fresh[name].limit
            fresh[name] = known[name]
        self.earlier = {name: one for name, one in known.items() if name not in fresh}
        self.tier, self.budgets = tier, fresh

    def is_idle(self, now_s: float) -> bool:
        every = (*self.budgets.values(), *self.earlier.values())
        return all(one.left(now_s) == one.limit for one in every)


@dataclass
class Ledgers:
    """All users' budgets and counts.

    `tiers` must name a tier "standard", which unknown names fall back to. Tokens are reserved up to
    the most a request may produce, so that no budget is ever passed; what was not used comes back
    when the request ends.
    """

    tiers: dict[str, Tier]
    counts: Counts = field(default_factory=Counts)
    _ledgers: dict[str, _Ledger] = field(default_factory=dict)

    def tier(self, name: str) -> Tier:
        return self.tiers.get(name) or self.tiers["standard"]

    def reserve(self, ask: Ask, now_s: float) -> Hold | Denied:
        """Reserves one request and its tokens, or says which limit stands against it."""
        ledger = self._ledger(ask.uid, self.tier(ask.tier), now_s)
        hold = Hold(ask.input_tokens + ask.output.most, {})
        for name, budget in ledger.budgets.items():
            amount = _amount(name, hold.tokens)
            if not budget.reserve(amount, now_s):
                self.refund(hold)
                wait_s = budget.retry_after_s(amount, now_s)
                return Denied("too_large" if wait_s == float("inf") else name, wait_s)
            hold.budgets[name] = budget
        return hold

    def settle(self, hold: Hold, usage: Usage, now_s: float) -> None:
        for name, budget in hold.budgets.items():
            used = _amount(name, usage.input_tokens + usage.output_tokens)
            budget.settle(_amount(name, hold.tokens), used, now_s)

    def refund(self, hold: Hold) -> None:
        for name, budget in hold.budgets.items():
            budget.refund(_amount(name, hold.tokens))

    def quotas(self, uid: str, now_s: float) -> list[Quota]:
        """What is left to a user; nothing for one without limits or never seen."""
        if uid not in self._ledgers:
            return []
        budgets = self._ledgers[uid].budgets.items()
        return [Quota(name, budget.limit, budget.left(now_s)) for name, budget in budgets]

    def knows(self, uid: str) -> bool:
        """Whether it is counted here what a user has used; without limits nothing is."""
        ledger = self._ledgers.get(uid)
        return ledger is not None and bool(ledger.budgets or ledger.earlier)

    def is_limited(self, tier: str) -> bool:
        """Whether users of this tier have any budget to keep."""
        return bool(_budgets(self.tier(tier)))

    def restore(self, uid: str, tier: str, used: Iterable[Used], now_s: float) -> None:
        """What a user is known to have used before this limiter started, oldest first."""
        budgets = self._ledger(uid, self.tier(tier), now_s).budgets
        for one in used:
            if one.name in budgets:
                budgets[one.name].settle(0, one.amount, now_s - one.ago_s)

    def _ledger(self, uid: str, tier: Tier, now_s: float) -> _Ledger:
        ledger = self._ledgers.get(uid)
        if ledger is None:
            if len(self._ledgers) >= LEDGERS_SWEPT_ABOVE:
                self._sweep(now_s)
            ledger = self._ledgers[uid] = _Ledger(tier, _budgets(tier))
        elif ledger.tier != tier:
            ledger.moved(tier)
        return ledger

    def _sweep(self, now_s: float) -> None:
        for uid in [uid for uid, ledger in self._ledgers.items() if ledger.is_idle(now_s)]:
            del self._ledgers[uid]


def _budgets(tier: Tier) -> dict[Reason, Budget]:
    limits: dict[Reason, tuple[int, float]] = {
        "requests_per_minute": (tier.requests_per_minute, MINUTE_S),
        "tokens_per_minute": (tier.tokens_per_minute, MINUTE_S),
        "tokens_per_day": (tier.tokens_per_day, DAY_S),
    }
    return {name: Budget(limit, period_s) for name, (limit, period_s) in limits.items() if limit}


def _amount(name: Reason, tokens: int) -> int:
    return 1 if name == "requests_per_minute" else tokens
