"""What would happen to a question, by the code that lets it happen, without asking a model.

Retrieval, calibration, decision, wording and prompt are those of a request; only the queue and the
worker are left out, and nothing is stored.
"""

import datetime

from appliance.access.answering import Answering
from appliance.access.profile import Profiles
from appliance.access.prompt import session_prompt
from appliance.knowledge.calibration import evidence
from appliance.knowledge.retrieval import Embedded, Retrieval, Searched
from appliance.schema.answers import Match
from appliance.schema.faq import FaqTest

FOUND = 10


class Rehearsal:
    """Tries questions. It keeps nothing."""

    def __init__(self, profiles: Profiles, retrieval: Retrieval, answering: Answering) -> None:
        self._profiles = profiles
        self._retrieval = retrieval
        self._answering = answering

    async def tried(self, question: str, uid: str) -> FaqTest:
        """The outcome for that person; the index being away is told in `degraded`."""
        embedded = await self._retrieval.embedded(question)
        searched = await self._retrieval.searched(question, embedded)
        decided = searched.found
        answer = self._answering.rehearsed(question, decided)
        prompt = session_prompt(
            await self._profiles.system(uid, ""),
            (),
            question,
            decided.matches,
            today=datetime.datetime.now(tz=datetime.UTC).astimezone().date(),
        )
        return FaqTest(
            decision=decided.decision,
            matches=decided.matches,
            found=(*searched.weighed, *await self._further(question, embedded, searched)),
            evidence=evidence([match.score for match in searched.weighed]),
            calibration=self._retrieval.calibration,
            degraded=decided.degraded,
            degraded_reason=decided.degraded_reason,
            answer=answer,
            prompt=() if answer else prompt.messages,
        )

    async def _further(
        self, question: str, embedded: Embedded, searched: Searched
    ) -> tuple[Match, ...]:
        """What a wider search finds beyond; among other neighbours its scores are others, too."""
        known = {match.id for match in searched.weighed}
        found = await self._retrieval.search(question, limit=FOUND, floor=-1.0, embedded=embedded)
        beyond = [match for match in found.matches if match.id not in known]
        return tuple(beyond[: max(FOUND - len(known), 0)])
