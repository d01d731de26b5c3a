"""What a request will need, told before it is admitted: its length, its input, its tier and class.

The answer's length is predicted from the words and the embedding of the question. The input is
counted from above: three bytes of text to a token, which few texts exceed in any language, and
each digit and sign by itself, as models have them; so what is reserved covers what is used.
What was really used is charged at the end, whatever was reserved.
"""

import re

import msgspec

from appliance.access.warmth import Warmth
from appliance.bus.notices import Asked
from appliance.bus.replies import StreamEvent
from appliance.knowledge.retrieval import Embedded
from appliance.limiter.rules import priority_of, tier_name
from appliance.people.turns import Turns
from appliance.people.users import Users
from appliance.prediction.lengths import Lengths
from appliance.schema.events import Done
from appliance.schema.requests import Request
from appliance.settings import Settings

BYTES_PER_TOKEN = 3
SINGLE = re.compile(r"[!-@\[-`{-~]")  # ASCII digits and signs
ENTRY_TOKENS = 150  # of a FAQ entry before the question, usually less
MESSAGE_TOKENS = 8  # what a template puts around a message
TURNS_LOOKED_AT = 4


class Forecasts:
    """Predicts for the requests of this process and learns from their ends."""

    def __init__(
        self, users: Users, turns: Turns, warmth: Warmth, lengths: Lengths, settings: Settings
    ) -> None:
        self._users = users
        self._turns = turns
        self._warmth = warmth
        self._lengths = lengths
        self._settings = settings

    async def asked(self, request: Request, embedded: Embedded) -> Asked:
        """What to tell the limiter of a request; `embedded` may be empty."""
        if embedded.stamp:
            await self._lengths.use(embedded.stamp, len(embedded.vector))
        most = min(request.sampling.max_tokens, self._settings.worker.context_tokens)
        predicted = self._lengths.predict(
            request.id, request.uid, request.text, bound=most, vector=embedded.vector
        )
        person = await self._users.find(request.uid)
        tier = tier_name(self._settings, person.tags)
        earlier, is_warm = await self._earlier(request)
        fresh = self._fresh_tokens(request)
        return Asked(
            tier=tier,
            priority=priority_of(self._settings, tier, request.priority),
            input_tokens=fresh if is_warm else fresh + earlier,
            cached_tokens=earlier if is_warm else 0,
            p50=round(predicted.p50, 1),
            p80=round(predicted.p80, 1),
            most=most,
        )

    def ended(self, request_id: str, last: StreamEvent | None) -> None:
        """Learns from an answer that ended well; other ends teach nothing."""
        tokens, cut = 0, False
        if last is not None and last.event == "done":
            done = msgspec.json.decode(last.data, type=Done)
            tokens, cut = done.usage.completion_tokens, done.finish_reason == "length"
        self._lengths.ended(request_id, tokens=tokens, cut=cut)

    async def _earlier(self, request: Request) -> tuple[int, bool]:
        """Tokens of the conversation so far, and whether a worker has them in its cache."""
        if not request.session_id:
            return 0, False
        turns = await self._turns.latest(request.session_id, TURNS_LOOKED_AT)
        used = [turn.usage for turn in turns if turn.usage.total_tokens]
        if not used:
            return 0, False
        is_warm = request.session_id in await self._warmth.warm_sessions()
        return used[-1].total_tokens, is_warm

    def _fresh_tokens(self, request: Request) -> int:
        texts = [message.content for message in request.messages] or [request.text]
        if not request.session_id or not request.messages:
            texts.append(self._settings.prompt.system)
        entries = self._settings.faq.matches * ENTRY_TOKENS if request.faq else 0
        return entries + sum(MESSAGE_TOKENS + text_tokens(text) for text in texts)


def text_tokens(text: str) -> int:
    """How many tokens a text has, most likely more than it really has."""
    single = len(SINGLE.findall(text))
    return single + (len(text.encode()) - single) // BYTES_PER_TOKEN
