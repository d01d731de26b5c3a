"""Questions that the FAQ has no answer to, put to a person.

First stored, then told: the question lies among the misses, and its asker among those who wait for
an answer, before the asker hears that a person has been asked. Each step can be repeated. The
people named in the settings hear of a group of questions once, when it begins to wait; whoever
keeps the FAQ answers it there (see `promotion`).
"""

import logging
from collections.abc import Sequence

from appliance.clock import now_ms
from appliance.errors import SluiceError
from appliance.keys import new_message_id
from appliance.knowledge.missed import Missed
from appliance.knowledge.misses import Misses
from appliance.knowledge.retrieval import Embedded
from appliance.people.inbox import OURSELVES, Inbox
from appliance.schema.curation import Miss
from appliance.schema.inbox import InboxMessage
from appliance.schema.requests import Request

log = logging.getLogger(__name__)


class Persons:
    """Asks those who can answer. It keeps nothing; `uids` hear of what waits in their inbox."""

    def __init__(self, misses: Misses, inbox: Inbox, uids: Sequence[str]) -> None:
        self._misses = misses
        self._inbox = inbox
        self._uids = uids

    async def asked(self, request: Request, embedded: Embedded) -> bool:
        """Whether a person sees the question, and its asker will hear of the answer.

        False for what was dismissed as no question for the FAQ, and when as many wait already as
        are kept.
        """
        miss = await self._misses.take(
            Missed(
                request_id=request.id,
                uid=request.uid,
                question=request.text,
                reason="no_match",
                at_ms=now_ms(),
                embedded=embedded,
                session_id=request.session_id,
                waits=True,
            )
        )
        waiting = [asker for asker in miss.askers if asker.waits]
        if waiting and waiting[0].request_id == request.id:
            await self._notify(miss)
        return any(asker.uid == request.uid for asker in waiting)

    async def _notify(self, miss: Miss) -> None:
        """An inbox that is full misses it; the question is among the misses all the same."""
        first = next(asker for asker in miss.askers if asker.waits)
        for uid in self._uids:
            message = InboxMessage(
                id=new_message_id(),
                kind="question_waiting",
                text=first.question,
                sender=OURSELVES,
                sent_at_ms=0,
                expires_at_ms=0,
            )
            try:
                await self._inbox.tell(uid, message, key=f"waiting {first.request_id}")
            except SluiceError as error:
                log.warning("%s is not told of a question: %s", uid, error)
