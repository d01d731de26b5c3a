"""Brings an arriving request before the operator's rule, once, and keeps what it said.

The ruling is kept in the request's record (`ask`), so that a limiter which takes over goes on with
it instead of asking again: nobody who was told to wait is refused later by a second opinion.
"""

import msgspec

from appliance.bus import scripts
from appliance.bus.client import Bus
from appliance.bus.notices import Notice
from appliance.limiter.core import Limiter
from appliance.limiter.rule import Question, Run, View, Wait
from appliance.limiter.rule import Refuse as RuledOut
from appliance.limiter.rule import Request as Ruled
from appliance.limiter.rule_process import OperatorRule
from appliance.limiter.verdict import RANKS, Refuse


async def ruled(
    bus: Bus, rule: OperatorRule | None, limiter: Limiter, notice: Notice, remaining_s: float
) -> Notice | Refuse:
    """The notice as the rule leaves it, or its refusal."""
    if rule is None or notice.asked.ruled:
        return notice
    asked = notice.asked
    request = Ruled(
        uid=notice.uid,
        tier=asked.tier,
        priority=asked.priority,
        pool=notice.pool,
        input_tokens=asked.input_tokens,
        cached_tokens=asked.cached_tokens,
        output_p50=asked.p50,
        output_p80=asked.p80,
        output_most=asked.most,
        seconds_left=round(remaining_s, 3),
    )
    view = View(
        waiting=limiter.waiting,
        running=limiter.running,
        capacity=limiter.capacity,
        own_waiting=limiter.waiting_of(notice.uid),
        own_running=limiter.running_of(notice.uid),
    )
    said = await rule.decide(Question(request, view))
    if isinstance(said, RuledOut):
        return Refuse(notice.request_id, "rule", said.retry_after_s, said.message)
    priority = asked.priority
    if isinstance(said, Wait) and said.priority is not None:
        priority = max(priority, said.priority, key=RANKS.__getitem__)
    asked = msgspec.structs.replace(
        asked, ruled=True, is_ahead=isinstance(said, Run), priority=priority
    )
    await scripts.note(bus, notice.request_id, "ask", msgspec.json.encode(asked))
    return msgspec.structs.replace(notice, asked=asked)
