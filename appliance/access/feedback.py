"""What a person thinks of an answer, and what follows from it.

A thumb is stored with the turn, counted for the entries the answer was made from, and a thumb
down puts the question among the misses. Without a session there is no turn: then the request's
record holds it, as long as that is kept.
"""

import contextlib

import msgspec

from appliance import keys
from appliance.access.flow import People
from appliance.bus.client import Bus
from appliance.errors import Conflict, NotFound
from appliance.knowledge.questions import Heard, Questions
from appliance.knowledge.stats import Stats
from appliance.people.turns import Answered, Asked, Sent, Thumbed
from appliance.schema.requests import Request


class FeedbackDesk:
    """Takes feedback on answers."""

    def __init__(self, bus: Bus, people: People, stats: Stats, questions: Questions) -> None:
        self._bus = bus
        self._people = people
        self._stats = stats
        self._questions = questions

    async def leave(self, request_id: str, feedback: Thumbed) -> None:
        """Raises NotFound for an unknown answer, Conflict for one that has not ended."""
        answered = await self._answered(request_id)
        before = await self._stats.leave(request_id, feedback)
        if answered is None or before == 0:
            raise NotFound(
                f"no answer {request_id}",
                hint="answers without a session are kept for requests.reply_ttl_s",
                reason="no_answer",
            )
        if isinstance(before, int):
            raise Conflict(
                f"request {request_id} has not ended",
                hint="wait for its last event",
                reason="request_open",
            )
        await self._stats.vote(answered.entry_ids, before.thumb, feedback.thumb)
        if feedback.thumb == "down":
            self._questions.heard(answered)

    async def _answered(self, request_id: str) -> Heard | None:
        """The question, who asked it, and the entries behind the answer."""
        tag = keys.tag(request_id)
        asked = await self._bus.hget(keys.turn(tag), f"{request_id}:question")
        if asked:
            sent = await self._bus.hget(keys.turn(tag), f"{request_id}:sent")
            answer = await self._bus.hget(keys.turn(tag), f"{request_id}:answer")
            decision = msgspec.json.decode(answer, type=Answered).decision if answer else ""
            matches = msgspec.json.decode(sent, type=Sent).matches if sent else ()
            if decision == "did_you_mean":  # those were only offered
                matches = ()
            question, uid = msgspec.json.decode(asked, type=Asked).text, ""
            with contextlib.suppress(NotFound):
                uid = (await self._people.sessions.read(tag)).uid
            return _heard(request_id, uid, question, [match.id for match in matches])
        fields = await self._bus.hgetall(keys.request(request_id))
        if not fields:
            return None
        request = msgspec.json.decode(fields[b"body"], type=Request)
        ids = msgspec.json.decode(fields.get(b"heard", b"[]"), type=list[str])
        return _heard(request_id, request.uid, request.text, ids)


def _heard(request_id: str, uid: str, question: str, entry_ids: list[str]) -> Heard:
    return Heard(
        request_id=request_id,
        uid=uid,
        question=question,
        entry_ids=entry_ids,
        missed="thumbs_down",
    )
