"""What happens after an answer, unasked: related questions, the session's title, tags.

Answers that ended are taken one after the other from a bounded queue, so this never runs beside
itself and never delays an answer; what does not fit in the queue has no aftermath. A title given by
a person is never changed. Tags are looked for only when the settings say so, and only among
the words they list; each says that the job found it, and one that was taken off stays off.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any
from unicodedata import east_asian_width

import msgspec

from appliance import keys
from appliance.access.asides import Asides
from appliance.access.flow import People
from appliance.bus.client import AWAY, Bus
from appliance.bus.replies import StreamEvent
from appliance.bus.script import Script
from appliance.errors import SluiceError
from appliance.grammar.json_schema import json_grammar
from appliance.knowledge.retrieval import Retrieval
from appliance.limiter.rules import TIER_TAG
from appliance.people.inbox import Inbox
from appliance.people.transcripts import first_words
from appliance.schema.answers import Match
from appliance.schema.conversations import Session, Turn
from appliance.schema.inbox import Related, RelatedQuestion
from appliance.schema.requests import Request
from appliance.settings import Settings

log = logging.getLogger(__name__)

QUEUE = 256
COUNTED_PEOPLE = 10_000
TURNS = 50
TEXT_CHARS = 600
TITLE_COLUMNS = 60
"""A Chinese character takes two."""
TITLE_TOKENS = 24
TOKENS_PER_TAG = 24
TAG_SESSIONS = 10
TAG_QUESTIONS = 30

TITLE_PROMPT = (
    "Give the conversation a title of two to six words, in the language of the question. "
    "Write the title only. "
    "给这段对话起一个标题，用提问的语言，中文四到十二个字。只写标题。"
)
TAG_PROMPT = "You read what a person asked. For each tag say whether it fits:\n{tags}"
TAG_QUESTION = "The questions:\n{questions}\n\nDo they ask about it?"

# KEYS session; ARGV title: set where no person gave one; 0 when it was not
_ENTITLE = Script("""
local held = redis.call('HMGET', KEYS[1], 'uid', 'title', 'entitled')
if not held[1] or (held[2] ~= '' and held[3] ~= held[2]) then return 0 end
redis.call('HSET', KEYS[1], 'title', ARGV[1], 'entitled', ARGV[1])
return 1
""")


def related_to(
    matches: Sequence[Match], turns: Sequence[Turn], *, most: int
) -> tuple[RelatedQuestion, ...]:
    """Entries near the one that was hit, without those hit or asked for in the session."""
    known = {match.id for turn in turns for match in turn.matches}
    asked = {turn.question.strip().casefold() for turn in turns}
    fresh = [
        RelatedQuestion(entry_id=match.id, question=match.question)
        for match in matches
        if match.id not in known and match.question.strip().casefold() not in asked
    ]
    return tuple(fresh[:most])


def tidy_title(text: str) -> str:
    """A model's title as we show it: its first line without quotes, marks and labels."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[0] if lines else ""
    for label in ("title:", "标题：", "标题:"):
        if line.casefold().startswith(label):
            line = line[len(label) :]
    return fitting_title(line.strip(" \t#*\"'“”‘’「」《》。.!！:："))


def fitting_title(text: str) -> str:
    """The first words of a text, as many as a list of sessions has room for."""
    line = " ".join(text.split())
    columns = accumulate(2 if east_asian_width(c) in "WF" else 1 for c in line)
    return first_words(line, sum(column <= TITLE_COLUMNS for column in columns))


def tag_schema(tags: Sequence[str]) -> dict[str, Any]:
    """What the model is made to say: yes or no for each tag, which small models can do where they
    leave a list empty."""
    return {
        "type": "object",
        "properties": {tag: {"enum": ["yes", "no"]} for tag in tags},
        "required": list(tags),
        "additionalProperties": False,
    }


def fitting_tags(answer: str) -> list[str]:
    """The tags the model said yes to; none when it was cut off."""
    try:
        said = msgspec.json.decode(answer.encode(), type=dict[str, str])
    except msgspec.DecodeError:
        return []
    return [tag for tag, word in said.items() if word == "yes"]


class Afterwards:
    """`run` is its one task; `ended` is told of every answer of this process."""

    def __init__(
        self,
        bus: Bus,
        people: People,
        inbox: Inbox,
        retrieval: Retrieval,
        asides: Asides,
        settings: Settings,
    ) -> None:
        self._bus = bus
        self._people = people
        self._inbox = inbox
        self._retrieval = retrieval
        self._asides = asides
        self._settings = settings
        self._queue: asyncio.Queue[Request] = asyncio.Queue(QUEUE)
        self._answered: OrderedDict[str, int] = OrderedDict()

    def ended(self, request: Request, last: StreamEvent | None) -> None:
        """A request ended with this event."""
        done = last is not None and last.event == "done"
        if done and request.session_id and not self._queue.full():
            self._queue.put_nowait(request)

    async def run(self) -> None:
        """Works until cancelled. What fails here is logged and left."""
        while True:
            request = await self._queue.get()
            try:
                await self._after(request)
            except (SluiceError, *AWAY) as error:
                log.info("nothing after %s: %s", request.id, error)
            except Exception:
                log.exception("the aftermath of %s failed", request.id)

    async def _after(self, request: Request) -> None:
        session = await self._people.sessions.read(request.session_id)
        turns = await self._people.turns.latest(session.id, TURNS)
        if request.faq and self._settings.inbox.related:
            related = await self.related(session, turns, request.id)
            await self._people.sessions.read(session.id)  # its person may be erased by now
            if related.questions:
                await self._inbox.offer(session.uid, related)
        await self._entitle(session, turns)
        if self._settings.people.tagging and self._is_due(session.uid):
            await self._find_tags(session)

    # -- related questions

    async def related(self, session: Session, turns: Sequence[Turn], request_id: str) -> Related:
        """What may be asked after this turn; none when its answer rests on no entry."""
        turn = next((one for one in turns if one.id == request_id), None)
        questions: tuple[RelatedQuestion, ...] = ()
        if turn is not None and turn.matches:
            most = self._settings.inbox.related
            known = {match.id for one in turns for match in one.matches}
            found = await self._retrieval.search(
                turn.matches[0].question,
                limit=most + min(len(known), TURNS),
                embedded=await self._retrieval.stored(turn.matches[0]),
            )
            questions = related_to(found.matches, turns, most=most)
        return Related(session_id=session.id, request_id=request_id, questions=questions)

    # -- titles

    async def _entitle(self, session: Session, turns: Sequence[Turn]) -> None:
        way = self._settings.sessions.titles
        answered = [turn for turn in turns if turn.answer]
        if session.title or way == "none" or not answered:
            return
        first = answered[0]
        title = fitting_title(first.question)
        await self._set_title(session.id, title)
        if way == "model":
            text = f"{first.question[:TEXT_CHARS]}\n\n{first.answer[:TEXT_CHARS]}"
            made = await self._asides.ask(
                session.uid, system=TITLE_PROMPT, text=text, max_tokens=TITLE_TOKENS
            )
            if tidied := tidy_title(made):
                await self._set_title(session.id, tidied)

    async def _set_title(self, session_id: str, title: str) -> None:
        await _ENTITLE.run(self._bus, (keys.session(session_id),), title)

    # -- tags

    def _is_due(self, uid: str) -> bool:
        """Whether the person has asked enough since the last look."""
        count = self._answered.pop(uid, 0) + 1
        due = count >= self._settings.people.tagging_after
        self._answered[uid] = 0 if due else count
        if len(self._answered) > COUNTED_PEOPLE:
            self._answered.popitem(last=False)
        return due

    async def _find_tags(self, session: Session) -> None:
        """Asks the model which of the listed tags fit what the person asked of late."""
        uid = session.uid
        words = {
            word.tag: word.meaning
            for word in self._settings.people.vocabulary
            if not word.tag.startswith(TIER_TAG)
        }
        questions = await self._questions(uid)
        if not words or not questions:
            return
        listed = "\n".join(f"- {tag}: {meaning}" for tag, meaning in words.items())
        answer = await self._asides.ask(
            uid,
            system=TAG_PROMPT.format(tags=listed),
            text=TAG_QUESTION.format(questions="\n".join(questions)),
            max_tokens=TOKENS_PER_TAG * (1 + len(words)),
            grammar=json_grammar(tag_schema(list(words))),
        )
        found = [tag for tag in fitting_tags(answer) if tag in words]
        if found:
            await self._people.sessions.read(session.id)  # nobody is tagged who was erased
            note = f"found in the last {len(questions)} questions"
            await self._people.users.tag(uid, found, note, source="job")

    async def _questions(self, uid: str) -> list[str]:
        page = await self._people.sessions.page(uid, cursor=None, limit=TAG_SESSIONS)
        found: list[str] = []
        for session in page.items:
            turns = await self._people.turns.latest(session.id, TAG_QUESTIONS)
            found += [first_words(turn.question, 200) for turn in reversed(turns)]
        return found[:TAG_QUESTIONS]
