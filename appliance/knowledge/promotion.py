"""How a group of missed questions becomes an entry, or is answered without one, and how those who
asked hear of it.

Each step can be repeated: the miss remembers its entry's id before the entry is written, and a
message to a person is written once per answer and question. People are told when the entry is
published and valid, which may be days later; `run` sees to it, also after a crash between two
steps. Who asks while others are told hears too, and who has a full inbox when there is room. Who
was told that a person has been asked gets the answer in the session, too.
"""

import asyncio
import contextlib
import datetime
import logging

from appliance.bus.client import AWAY
from appliance.clock import now_ms
from appliance.errors import Conflict, Invalid, NotFound, Overloaded, SluiceError
from appliance.knowledge.entries import Changed, Entries, content, first_version
from appliance.knowledge.misses import Misses
from appliance.knowledge.opposites import take_sides
from appliance.knowledge.text import canonical, checked, tidied
from appliance.knowledge.validity import is_valid
from appliance.people.inbox import Inbox
from appliance.people.late_answers import LateAnswers
from appliance.schema.curation import Asker, Miss, MissAnswer, MissPromote
from appliance.schema.faq import MAX_PHRASINGS, Entry

log = logging.getLogger(__name__)

RETRY_S = 5.0
LOOK_AGAIN_S = 600.0
"""For room in a full inbox, and entries that became valid: nothing tells of these."""


class Promotion:
    """Turns misses into entries; `run` is the one task that tells people."""

    def __init__(
        self, entries: Entries, misses: Misses, inbox: Inbox, late_answers: LateAnswers
    ) -> None:
        self._entries = entries
        self._misses = misses
        self._inbox = inbox
        self._late_answers = late_answers
        self._writing: set[str] = set()
        """Misses whose entry is being written: that it is not there yet says nothing."""
        self._woken = asyncio.Event()
        self._woken.set()
        entries.on_change(self._on_change)

    async def promote(self, miss_id: str, body: MissPromote, *, by: str = "") -> Entry:
        """The entry that the miss became; asked again after a crash, the one it had begun.

        Raises NotFound, Invalid, or Conflict for a miss that became an entry before.
        """
        miss = self._misses.find(miss_id)
        if (body.answer is None) == (body.entry_id is None):
            raise Invalid(
                "either an `answer` or an `entry_id` is needed",
                hint="write the answer, or name the entry that has it",
                reason="answer_or_entry",
            )
        entry = await (
            self._extended(miss, body.entry_id, by)
            if body.entry_id
            else self._created(miss, body, by)
        )
        self._woken.set()
        return entry

    async def answer(self, miss_id: str, body: MissAnswer) -> Miss:
        """Answers those who asked, without an entry; the same answer again changes nothing.

        Raises NotFound, Invalid, or Conflict for a miss that has another answer.
        """
        miss, text = self._misses.find(miss_id), body.answer.strip()
        if not text:
            raise Invalid(
                "the answer is empty",
                hint="write what the askers should read",
                reason="empty_answer",
            )
        if miss.state == "answered" and miss.answer == text:
            return miss
        if miss.state == "promoted":
            raise _became_another(miss)
        if miss.state == "answered":
            raise Conflict(
                f"miss {miss.id} has been answered otherwise",
                hint=f"to send another answer, first POST /api/faq/misses/{miss.id}/reopen",
                reason="miss_answered",
            )
        answered = await self._misses.change(miss.id, state="answered", answer=text, told=False)
        self._woken.set()
        return answered

    async def run(self) -> None:
        """Tells people until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._woken.wait()
            self._woken.clear()
            try:
                for miss in self._misses.untold():
                    await self._tell(miss)
            except AWAY:
                await asyncio.sleep(RETRY_S)
                self._woken.set()
            except Exception:
                log.exception("those who asked in vain could not be told")

    async def _created(self, miss: Miss, body: MissPromote, by: str) -> Entry:
        phrasings = miss.phrasings if body.phrasings is None else body.phrasings
        put = tidied(
            checked(
                {
                    "question": body.question or miss.question,
                    "answer": body.answer,
                    "phrasings": phrasings,
                    "category": body.category,
                    "language": body.language,
                    "state": body.state,
                }
            )
        )
        _require_one_side(miss.question, put.question)
        for phrasing in put.phrasings:
            _require_one_side(put.question, phrasing)
        before = await self._became(miss)
        if before:
            if content(before) == put:
                return before
            raise _became_another(miss)
        entry = first_version(put, at_ms=now_ms(), by=by)
        self._writing.add(miss.id)
        try:
            await self._misses.change(miss.id, state="promoted", entry_id=entry.id, told=False)
            if not await self._entries.write([entry]):
                raise Conflict(
                    "the entry was written by somebody else", hint="try again", reason="entry_busy"
                )
        except SluiceError:
            await self._misses.change(miss.id, state="open", entry_id="")
            raise
        finally:
            self._writing.discard(miss.id)
        return entry

    async def _extended(self, miss: Miss, entry_id: str, by: str) -> Entry:
        """The entry with the phrasings that were missed."""
        before = await self._became(miss)
        if before:
            if before.id == entry_id:
                return before
            raise _became_another(miss)
        entry = await self._entries.read(entry_id)
        _require_one_side(miss.question, entry.question)
        known = {canonical(text) for text in (entry.question, *entry.phrasings)}
        more = [text for text in miss.phrasings if canonical(text) not in known]
        fields = {name: getattr(entry, name) for name in type(content(entry)).__struct_fields__}
        fields["phrasings"] = (*entry.phrasings, *more)
        if len(entry.phrasings) + len(more) > MAX_PHRASINGS:
            raise Invalid(
                f"with {len(more)} more, FAQ entry {entry_id} would have more than "
                f"{MAX_PHRASINGS} phrasings",
                hint=f"take some off it with PUT /api/faq/{entry_id}, or answer the miss",
                reason="too_long",
                facts={"field": "phrasings", "bound": str(MAX_PHRASINGS)},
            )
        extended = await self._entries.replace(
            entry_id, checked(fields), expected=entry.version, by=by
        )
        await self._misses.change(miss.id, state="promoted", entry_id=entry_id, told=False)
        return extended

    async def _became(self, miss: Miss) -> Entry | None:
        """The entry of a promoted miss, None when that was deleted."""
        found = await self._entries.many([miss.entry_id]) if miss.state == "promoted" else ()
        return found[0] if found else None

    def _on_change(self, changed: Changed) -> None:
        if any(miss.entry_id in changed for miss in self._misses.untold()):
            self._woken.set()

    async def _tell(self, miss: Miss) -> None:
        """Nobody hears of a draft or of what does not hold now, and never of what is gone."""
        if miss.state == "answered":
            await self._tell_askers(miss, miss.answer)
            return
        found = await self._entries.many([miss.entry_id])
        if not found:
            if miss.id not in self._writing and miss in self._misses.untold():
                await self._misses.change(miss.id, told=True)
            return
        entry = found[0]
        if entry.state != "published" or not is_valid(entry, datetime.datetime.now(datetime.UTC)):
            return
        await self._tell_askers(miss, entry.answer)

    async def _tell_askers(self, miss: Miss, answer: str) -> None:
        full = []
        for asker in miss.askers:
            if not self._misses.asked(miss.id, asker.uid):
                continue
            try:
                await self._tell_one(asker, answer, miss)
            except Overloaded:
                full.append(asker)
            except SluiceError as error:
                log.warning("%s is not told of an answer: %s", asker.uid, error)
        await self._note_told(miss, full)

    async def _note_told(self, told: Miss, full: list[Asker]) -> None:
        """Keeps those who are still to hear; `told` is the miss as it was when that began."""
        try:
            miss = self._misses.find(told.id)
        except NotFound:
            log.info("miss %s left while its askers were told", told.id)
            return
        joined = [asker for asker in miss.askers if asker not in told.askers]
        left = tuple(asker for asker in miss.askers if asker in full or asker in joined)
        changed = _answer_of(miss) != _answer_of(told)
        if joined or changed:
            self._woken.set()
        if left and not changed:
            await self._misses.change(miss.id, askers=left)
        elif not changed:
            await self._misses.change(miss.id, told=True)

    async def _tell_one(self, asker: Asker, answer: str, miss: Miss) -> None:
        turn_id = ""
        if asker.waits and asker.session_id:
            turn_id = await self._late_answers.add(
                asker.session_id, asker.request_id, asker.question, answer
            )
        source = miss.entry_id if miss.state == "promoted" else f"{miss.id} {answer}"
        await self._inbox.answer_found(
            asker.uid,
            asker.question,
            answer=answer,
            key=f"found {source} {asker.question}",
            entry_id=miss.entry_id if miss.state == "promoted" else "",
            session_id=asker.session_id if turn_id else "",
            request_id=turn_id,
        )


def _became_another(miss: Miss) -> Conflict:
    return Conflict(
        f"miss {miss.id} became the entry {miss.entry_id}",
        hint=f"edit that with PUT /api/faq/{miss.entry_id}",
        reason="miss_promoted",
    )


def _answer_of(miss: Miss) -> tuple[str, str]:
    return (miss.entry_id, "") if miss.state == "promoted" else (miss.state, miss.answer)


def _require_one_side(asked: str, told: str) -> None:
    """A phrasing is answered with its entry's text, so none may ask for the opposite."""
    if take_sides(asked, told):
        raise Invalid(
            f"“{told}” is the opposite of “{asked}”",
            hint="make an entry of each, or name both in the question where one answer will do",
            reason="opposite",
            facts={"asked": asked, "told": told},
        )
