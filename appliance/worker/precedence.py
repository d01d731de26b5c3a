"""Who sits out a step, so that one who asks much does not slow one who asks little; pure.

All that runs shares each step, and on a CPU a step with four answers takes two and a half times as
long as a step with one. So somebody who has used less than two thirds of what another has lately,
and some requests' worth less, goes first: the other's answers and prompts sit out steps while his
are computed. They are not shut out: they get `1 - kept` of the time, and an answer waits no longer
than `gap_s` for its next token, or OVERDRAWN_GAPS times that where a token each in every gap would
take more than that time. Those who have used about the same share every step, and where the few who
go first would leave most of a step unused (on a GPU), so does everybody: a few steps without the
others tell, and tell again when that was long ago. (After "least attained service first"; among
people, not requests, so that a long answer is no disadvantage by itself.)

Use is time in steps, split by tokens, with a half-life.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from appliance.decay import ForwardDecay
from appliance.worker.gauge import Gauge

HALF_LIFE_S = 60.0
PACE_S = 1.0  # between tokens of an answer that goes on beside those that go first
AHEAD_RATIO = 1.5  # of use: who has used more than this many times another's is ahead of him
AHEAD_S = 1.0  # of use: a smaller lead is none
AHEAD_REQUESTS = 3  # nor is the use of so many: people who ask in turn are never quite even
AHEAD_AT_MOST_S = 15.0  # however long requests are
NEWEST_WEIGHT = 0.1  # of the request that ended last in the use of a usual one
USERS_SWEPT_ABOVE = 1_000
LEAST_PACE = 1 / 2  # of the answers' tokens per second with everybody; less is too dear an order
OVERDRAWN_GAPS = 3  # an answer's longest wait, in gaps, where a token in each is more than its time
PROMPT_PORTION = 32  # tokens of prompts that wait while others go first

Kind = Literal["answers", "prompts"]


@dataclass(frozen=True, slots=True)
class Turn:
    """Requests that sit out a step, and at most how many tokens of prompts it has.

    `waits` says that a prompt goes first and that all answers that run are of those ahead.
    """

    out: frozenset[str] = frozenset()
    prompt_tokens: int | None = None
    waits: bool = False


EVERYBODY = Turn()


@dataclass(slots=True)
class _Account:
    """Time that those ahead may take, below 0 what they took too much, and when they last did."""

    spare_s: float = 0.0
    joined_at_s: float = 0.0


@dataclass(slots=True)
class Precedence:
    """Counts use. `kept` is the part of the time kept for those who go first, 0 for no order."""

    kept: float
    gap_s: float
    _users: dict[str, str] = field(default_factory=dict)
    _used_s: dict[str, float] = field(default_factory=dict)
    _spent_s: dict[str, float] = field(default_factory=dict)  # by request that runs
    _usual_s: float = 0.0  # use of one request
    _decay: ForwardDecay = field(default_factory=lambda: ForwardDecay(HALF_LIFE_S, 0.0))
    _accounts: dict[Kind, _Account] = field(
        default_factory=lambda: {"answers": _Account(), "prompts": _Account()}
    )

    def turn(
        self, users: dict[str, str], decoding: Collection[str], gauge: Gauge, now_s: float
    ) -> Turn:
        """Who takes part in the next step, of these running requests with their users."""
        self._users = users
        self._learn_usual()
        users_ahead = self._ahead(now_s)
        if not users_ahead:
            for account in self._accounts.values():
                account.spare_s, account.joined_at_s = 0.0, now_s
            return EVERYBODY
        ahead = {request_id for request_id, user in users.items() if user in users_ahead}
        answers, prompts = ahead.intersection(decoding), ahead.difference(decoding)
        first = len(decoding) - len(answers)
        if first < len(users) - len(ahead):  # a prompt
            account = self._accounts["answers"]
            spoke = now_s - account.joined_at_s < self.gap_s / 2
            if not spoke:
                account.joined_at_s = now_s
            # A short prompt does not wait for answers; beside a long one they are few tokens.
            return Turn(frozenset(ahead if spoke else prompts), waits=bool(decoding) and not first)
        alone_s = gauge.small_steps.predict(first)
        all_s = gauge.small_steps.predict(len(decoding))
        is_known = gauge.small_steps.knows(first)
        if is_known and first * all_s / (len(decoding) * alone_s) < LEAST_PACE:
            return EVERYBODY
        out: set[str] = set()
        extra_s = all_s - alone_s if is_known else math.inf  # a few steps tell
        if answers and not self._joins("answers", alone_s, extra_s, now_s):
            out |= answers
        extra_s = gauge.all_steps.predict(PROMPT_PORTION) - gauge.all_steps.predict(0)
        if prompts and not self._joins("prompts", alone_s, extra_s, now_s):
            out |= prompts
        return Turn(frozenset(out), prompt_tokens=PROMPT_PORTION)

    def charge(self, tokens: Mapping[str, int], seconds: float, now_s: float) -> None:
        """The step of the last turn lasted so long and had so many tokens of each request."""
        token_s, scale = seconds / sum(tokens.values()), self._scale(now_s)
        for request_id, count in tokens.items():
            user = self._users[request_id]
            self._used_s[user] = self._used_s.get(user, 0.0) + token_s * count * scale
            self._spent_s[request_id] = self._spent_s.get(request_id, 0.0) + token_s * count
        if len(self._used_s) > USERS_SWEPT_ABOVE:
            most = sorted(self._used_s, key=self._used_s.__getitem__, reverse=True)
            self._used_s = {user: self._used_s[user] for user in most[: USERS_SWEPT_ABOVE // 2]}

    def _ahead(self, now_s: float) -> frozenset[str]:
        """Users who let another go first."""
        users = set(self._users.values())
        if not self.kept or len(users) < 2:
            return frozenset()
        used_s = {user: self._used_s.get(user, 0.0) for user in users}
        lead_s = min(max(AHEAD_S, AHEAD_REQUESTS * self._usual_s), AHEAD_AT_MOST_S)
        bound_s = AHEAD_RATIO * min(used_s.values()) + lead_s * self._scale(now_s)
        return frozenset(user for user, own_s in used_s.items() if own_s > bound_s)

    def _learn_usual(self) -> None:
        """What requests have used that run no more."""
        for request_id in self._spent_s.keys() - self._users.keys():
            spent_s = self._spent_s.pop(request_id)
            weight = NEWEST_WEIGHT if self._usual_s else 1.0
            self._usual_s += weight * (spent_s - self._usual_s)

    def _joins(self, kind: Kind, alone_s: float, extra_s: float, now_s: float) -> bool:
        """Whether those ahead take part in a step, which is so much longer with them."""
        account = self._accounts[kind]
        part = (1 - self.kept) / len(self._accounts)
        account.spare_s += part * alone_s
        gaps = 1 if account.spare_s >= 0 else OVERDRAWN_GAPS
        overdue = kind == "answers" and now_s + alone_s - account.joined_at_s >= gaps * self.gap_s
        if account.spare_s < extra_s and not overdue:
            return False
        least_s, most_s = -part * OVERDRAWN_GAPS * self.gap_s, part * alone_s
        account.spare_s = min(max(account.spare_s - extra_s, least_s), most_s)
        account.joined_at_s = now_s
        return True

    def _scale(self, now_s: float) -> float:
        """How much a second used now counts."""
        scale, factor = self._decay.at(now_s)
        if factor != 1.0:
            self._used_s = {user: used_s * factor for user, used_s in self._used_s.items()}
        return scale
