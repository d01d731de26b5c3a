"""Answers that need no model: the FAQ's own text, entries to pick from, or that there is none and,
if the settings want it so, that a person has been asked.

It is tried twice with one rule. Before the queue, with what is known at once: a question that is a
phrasing to the letter, or one whose vector comes within the time that admission waits for it. So a
direct answer takes milliseconds while others wait for the model. And again in the walk's place for
retrieval, for then the FAQ may have changed, and the vector is there. If it has not, what the first
search found is not searched for again.

Nothing is written before the end: what was retrieved, the text, the turn and the terminal event
are one script (`bus.scripts.END`), so a crash before it means that the walk starts again, and a
crash after it that the answer is whole.
"""

import asyncio
from dataclasses import dataclass

import msgspec

from appliance import keys
from appliance.access.forecast import text_tokens
from appliance.access.prompt import is_chinese
from appliance.bus import scripts
from appliance.bus.client import Bus
from appliance.bus.notices import Notice, notify
from appliance.clock import now_ms
from appliance.knowledge.persons import Persons
from appliance.knowledge.retrieval import NOT_EMBEDDED, Embedded, Retrieval, Searched
from appliance.people.turns import Sent
from appliance.schema.answers import Timings, Usage
from appliance.schema.curation import DRAFTS_UID
from appliance.schema.events import Delta, Done, Event, Retrieved
from appliance.schema.requests import TERMINAL_STATES, Request
from appliance.settings import Settings

MODEL = "faq"
"""What `done.model` names."""


@dataclass
class Question:
    """The question of one walk: its vector, made once, and what it found the last time."""

    embedding: "asyncio.Task[Embedded]"
    searched: Searched | None = None

    @property
    def embedded(self) -> Embedded:
        """Its vector, if that is there."""
        return self.embedding.result() if self.embedding.done() else NOT_EMBEDDED


class Answering:
    """Ends requests that the FAQ answers alone. It keeps nothing."""

    def __init__(
        self, bus: Bus, retrieval: Retrieval, persons: Persons, settings: Settings
    ) -> None:
        self._bus = bus
        self._retrieval = retrieval
        self._persons = persons
        self._settings = settings

    async def to_the_letter(self, request: Request) -> bool:
        """Whether the request was ended because it is a phrasing of the FAQ."""
        return _takes_text(request) and await self.ended(
            request, await self._retrieval.exact(request.text)
        )

    async def by_meaning(self, request: Request, question: Question) -> bool:
        """Whether the request was ended with what its vector finds, if that is there."""
        if not question.embedded.stamp or not _takes_text(request):
            return False
        found = await self.found(request, question)
        return await self.ended(request, found, question.embedded)

    async def found(self, request: Request, question: Question | None) -> Retrieved:
        """What the FAQ has for the request as it is now; nothing for one that does not ask it."""
        if question is None:
            return Retrieved(matches=())
        embedded = await question.embedding
        question.searched = await self._retrieval.searched(
            request.text, embedded, before=question.searched
        )
        return question.searched.found

    async def ended(
        self, request: Request, found: Retrieved, embedded: Embedded = NOT_EMBEDDED
    ) -> bool:
        """Ends the request when the decision asks for no model; False when it does, or when
        the request cannot end so any more."""
        if not _takes_text(request):
            return False
        if found.decision == "no_answer":
            if request.uid == DRAFTS_UID:  # a draft of the answer that is missing
                return False
            found = await self._passed_on(request, found, embedded)
        text = self.text(request.text, found)
        if not text or not self._fits(request, text):
            return False
        told = now_ms() - request.created_at_ms
        done = Done(
            finish_reason="stop",
            model=MODEL,
            usage=Usage(),
            timings=Timings(admitted_ms=told, first_token_ms=told, total_ms=told),
            decision=found.decision,
        )
        before: tuple[Event, ...] = (found, Delta(text=text))
        ended = await scripts.end(
            self._bus,
            request.id,
            done,
            ttl_s=self._settings.requests.reply_ttl_s,
            text=text,
            usage=done.usage,
            sent=msgspec.json.encode(Sent(text="", matches=found.matches)),
            before=before,
        )
        if ended:
            await notify(self._bus, Notice(kind="ended", request_id=request.id))
        return ended

    def _fits(self, request: Request, text: str) -> bool:
        """Whether the text keeps to what the caller asked for: none of the stops, no more tokens,
        by the estimate that admission goes by. The default length is the model's alone."""
        chosen, defaults = request.sampling, self._settings.requests.defaults
        if any(stop in text for stop in chosen.stop):
            return False
        given = chosen.max_tokens != defaults.max_tokens
        return not given or text_tokens(text) <= chosen.max_tokens

    async def _passed_on(self, request: Request, found: Retrieved, embedded: Embedded) -> Retrieved:
        """With the decision that a person was asked, where that is so."""
        wanted = self._settings.faq.no_answer == "person"
        if not wanted or not await self._is_open(request):
            return found
        if not await self._persons.asked(request, embedded):
            return found
        return msgspec.structs.replace(found, decision="person_asked")

    async def _is_open(self, request: Request) -> bool:
        """Nobody is asked for who was erased or does not wait any more."""
        state = await self._bus.hget(keys.request(request.id), "state")
        return state is not None and state.decode() not in TERMINAL_STATES

    def rehearsed(self, question: str, found: Retrieved) -> str:
        """What would be said, as far as it does not depend on who else has asked."""
        if found.decision == "no_answer" and self._settings.faq.no_answer == "person":
            found = msgspec.structs.replace(found, decision="person_asked")
        return self.text(question, found)

    def text(self, question: str, found: Retrieved) -> str:
        """What is said without a model; "" where the decision asks for one."""
        chinese = is_chinese(question)
        if found.decision == "direct":
            return found.matches[0].answer
        if found.decision == "did_you_mean":
            rows = [f"{n}. {match.question}" for n, match in enumerate(found.matches, start=1)]
            return "\n".join(["您想问的是：" if chinese else "Did you mean:", *rows])
        if found.decision == "person_asked":
            return _PERSON_ASKED_CHINESE if chinese else _PERSON_ASKED
        if found.decision == "no_answer" and self._settings.faq.no_answer != "model":
            return _NO_ANSWER_CHINESE if chinese else _NO_ANSWER
        return ""


_NO_ANSWER = "The FAQ has no answer to this. Please ask in other words, or ask a person."
_NO_ANSWER_CHINESE = "常见问题中没有这个问题的答案。请换个说法再问，或者咨询工作人员。"

_PERSON_ASKED = (
    "The FAQ has no answer to this. A person has been asked; the answer will come to your inbox."
)
_PERSON_ASKED_CHINESE = "常见问题中没有这个问题的答案。已转交工作人员，答复会发到您的收件箱。"


def _takes_text(request: Request) -> bool:
    """A caller who wants JSON, a grammar or probabilities wants a model's answer."""
    return not request.sampling.grammar and request.sampling.logprobs is None
