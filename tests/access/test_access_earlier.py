"""What later prompts hold of turns whose FAQ entries were changed in the meantime."""

from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from appliance import keys
from appliance.access.earlier import HISTORY_TURNS, EarlierTurns
from appliance.bus.client import Bus
from appliance.knowledge.entries import Entries, content
from appliance.people.sessions import Sessions
from appliance.people.turns import Answered, Asked, Sent, Turns
from appliance.schema.answers import Match
from appliance.schema.conversations import Session
from appliance.schema.faq import Entry, EntryPut
from appliance.settings.conversations import Sessions as Bounds

pytestmark = pytest.mark.integration

CODE = EntryPut(question="The door code?", answer="It is 7341.", phrasings=("How to get in?",))
HOURS = EntryPut(question="When is it open?", answer="From 9 to 17.")


class Counted(Entries):
    """Counts how often records are read."""

    reads = 0

    async def many(self, entry_ids: Sequence[str]) -> list[Entry]:
        self.reads += 1
        return await super().many(entry_ids)


@pytest.fixture
def entries(bus: Bus) -> Counted:
    return Counted(bus, 100)


@pytest.fixture
async def session(bus: Bus) -> Session:
    return await Sessions(bus, sessions_kept=10).create("ann", "")


def match_of(entry: Entry, phrasing: str = "") -> Match:
    return Match(
        id=entry.id,
        question=entry.question,
        phrasing=phrasing or entry.question,
        answer=entry.answer,
        category="",
        language="",
        score=0.9,
    )


async def answered(bus: Bus, session: Session, number: int, *matches: Match) -> str:
    """A turn as it has always been stored."""
    turn_id = f"{session.id}-{number}"
    await bus.zadd(keys.turns(session.id), {turn_id: number})
    records = {
        f"{turn_id}:question": msgspec.json.encode(Asked(f"question {number}", number)),
        f"{turn_id}:sent": msgspec.json.encode(Sent(f"as sent {number}", matches)),
        f"{turn_id}:answer": msgspec.json.encode(Answered("done", f"answer {number}")),
    }
    await bus.hset(keys.turn(session.id), mapping=records)
    return turn_id


async def outdated(bus: Bus, entries: Entries, session: Session) -> tuple[str, ...]:
    return (await EarlierTurns(bus, Turns(bus), entries, Bounds()).of(session.id)).left_out


@pytest.mark.parametrize(
    ("change", "goes"),
    [
        (EntryPut(question="The door code?", answer="It is 9920.", phrasings=CODE.phrasings), True),
        (replace(CODE, question="The code of the door?"), True),
        (replace(CODE, phrasings=()), True),
        (replace(CODE, state="draft"), True),
        (replace(CODE, valid_until="2020-01-01"), True),
        (replace(CODE, category="doors"), False),
        (replace(CODE, phrasings=(*CODE.phrasings, "Code?"), valid_until="2999-01-01"), False),
    ],
)
async def test_a_turn_is_left_out_when_its_entry_says_something_else(
    bus: Bus, entries: Counted, session: Session, change: EntryPut, goes: bool
) -> None:
    code, hours = await entries.create(CODE), await entries.create(HOURS)
    turn_id = await answered(bus, session, 1, match_of(hours), match_of(code, "How to get in?"))
    await answered(bus, session, 2, match_of(hours))
    assert await outdated(bus, entries, session) == ()
    await entries.replace(code.id, change)
    assert await outdated(bus, entries, session) == ((turn_id,) if goes else ())
    await entries.replace(code.id, content(code))
    assert await outdated(bus, entries, session) == (), "it says the same again"


async def test_a_turn_whose_entry_was_deleted_is_left_out(
    bus: Bus, entries: Counted, session: Session
) -> None:
    code = await entries.create(CODE)
    turn_id = await answered(bus, session, 1, match_of(code))
    await entries.delete(code.id)
    assert await outdated(bus, entries, session) == (turn_id,)


async def test_entries_are_read_once_and_only_where_there_are_any(
    bus: Bus, entries: Counted, session: Session
) -> None:
    for number in range(3):
        await answered(bus, session, number)
    assert await outdated(bus, entries, session) == ()
    assert entries.reads == 0
    code, hours = await entries.create(CODE), await entries.create(HOURS)
    for number in range(3, 6):
        await answered(bus, session, number, match_of(code), match_of(hours))
    assert await outdated(bus, entries, session) == ()
    assert entries.reads == 1


async def test_older_turns_than_are_looked_at_are_counted(
    bus: Bus, entries: Counted, session: Session
) -> None:
    earlier = EarlierTurns(bus, Turns(bus), entries, Bounds())
    for number in range(HISTORY_TURNS + 5):
        await answered(bus, session, number)
    found = await earlier.of(session.id, but=f"{session.id}-{HISTORY_TURNS + 4}")
    assert found.cut_turns + len(found.turns) == HISTORY_TURNS + 4
    assert HISTORY_TURNS // 2 <= len(found.turns) < HISTORY_TURNS
    assert (await earlier.of("")).turns == ()


async def test_what_is_left_out_counts_as_cut_and_cuts_nothing_else(
    bus: Bus, entries: Counted, session: Session
) -> None:
    code = await entries.create(CODE)
    for number in range(12):
        await answered(bus, session, number, *([match_of(code)] if number in (1, 10) else ()))
    bounds = Bounds(history_chars=180)
    earlier = EarlierTurns(bus, Turns(bus), entries, bounds)
    whole = await earlier.of(session.id)
    await entries.delete(code.id)
    found = await earlier.of(session.id)
    assert found.left_out == (f"{session.id}-10",), "the other one was cut before"
    assert found.cut_turns == whole.cut_turns + 1
    assert [turn for turn in whole.turns if turn.id not in found.left_out] == list(found.turns)


async def test_a_turn_that_is_still_open_is_told_and_not_sent(
    bus: Bus, entries: Counted, session: Session
) -> None:
    await answered(bus, session, 1)
    earlier = EarlierTurns(bus, Turns(bus), entries, Bounds())
    assert not (await earlier.of(session.id)).has_open
    await bus.zadd(keys.turns(session.id), {"open": 2})
    asked = msgspec.json.encode(Asked("question 2", 2))
    await bus.hset(keys.turn(session.id), mapping={"open:question": asked})
    await bus.hset(keys.request("open"), mapping={"state": "streaming"})
    found = await earlier.of(session.id)
    assert (found.has_open, [turn.question for turn in found.turns]) == (True, ["question 1"])
    assert not (await earlier.of(session.id, but="open")).has_open
