"""What becomes of each question that was asked: hits are counted, misses go to their inbox.

Answers never wait for this: the flow hands a question over and goes on, one task does the rest.
A question that comes when `HEARD_BOUND` are waiting is not counted. While the store is away the
task waits for it.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from appliance.bus.outage import until_back
from appliance.clock import now_ms
from appliance.knowledge.missed import Missed
from appliance.knowledge.misses import Misses
from appliance.knowledge.retrieval import NOT_EMBEDDED, Embedded, Retrieval
from appliance.knowledge.stats import Stats
from appliance.schema.curation import DRAFTS_UID, MissReason
from appliance.schema.events import Retrieved
from appliance.schema.requests import Request

log = logging.getLogger(__name__)

HEARD_BOUND = 4_096


@dataclass(frozen=True)
class Heard:
    """A question and the entries it was answered from; `missed` says why that was not enough."""

    request_id: str
    uid: str
    question: str
    entry_ids: Sequence[str]
    missed: MissReason | None
    embedded: Embedded = NOT_EMBEDDED


class Questions:
    """`heard` takes questions in; `run` is the one task that deals with them."""

    def __init__(self, stats: Stats, misses: Misses, retrieval: Retrieval) -> None:
        self._stats = stats
        self._misses = misses
        self._retrieval = retrieval
        self._waiting: asyncio.Queue[Heard] = asyncio.Queue(HEARD_BOUND)

    def heard(self, question: Heard) -> None:
        """Returns at once."""
        try:
            self._waiting.put_nowait(question)
        except asyncio.QueueFull:
            log.warning("a question is not counted: %d are waiting", HEARD_BOUND)

    def retrieved(self, request: Request, data: bytes) -> None:
        """What retrieval found for a request, as its event says. Drafts of answers, which the
        model writes for whoever keeps the FAQ, are no questions of people."""
        if not request.faq or request.uid == DRAFTS_UID:
            return
        found = msgspec.json.decode(data, type=Retrieved)
        is_missed = (not found.matches or found.decision == "no_answer") and not found.degraded
        is_missed = is_missed and found.decision != "person_asked"  # that was taken in before
        was_used = found.decision != "did_you_mean"  # those are only offered
        self.heard(
            Heard(
                request_id=request.id,
                uid=request.uid,
                question=request.text,
                entry_ids=[match.id for match in found.matches if was_used],
                missed="no_match" if is_missed else None,
            )
        )

    async def run(self) -> None:
        """Counts until cancelled."""
        while True:
            heard = await self._waiting.get()
            try:
                await until_back(partial(self._take, heard))
            except Exception:
                log.exception("question of request %s is not counted", heard.request_id)
            self._waiting.task_done()

    async def settled(self) -> None:
        """Waits until everything heard so far is counted."""
        await self._waiting.join()

    async def _take(self, heard: Heard) -> None:
        at_ms = now_ms()
        if heard.missed != "thumbs_down":
            await self._stats.heard(heard.request_id, heard.entry_ids, at_ms)
        if heard.missed is None:
            return
        embedded = heard.embedded
        if not embedded.stamp:
            embedded = await self._retrieval.embedded(heard.question)
        if not await self._stats.holds(heard.request_id):
            return  # its person was erased
        await self._misses.take(
            Missed(
                request_id=heard.request_id,
                uid=heard.uid,
                question=heard.question,
                reason=heard.missed,
                at_ms=at_ms,
                embedded=embedded,
            )
        )
