"""Branching a conversation: what goes along, what stays, and what is refused."""

import msgspec
import pytest

from appliance import keys
from appliance.bus.client import Bus
from appliance.errors import Conflict, NotFound, Overloaded
from appliance.people.branches import Branches
from appliance.people.sessions import Sessions
from appliance.people.turns import Answered, Asked, Sent, Thumbed, Turns
from appliance.schema.conversations import Session

pytestmark = pytest.mark.integration

AT_MS = 1_000


async def ask(bus: Bus, session: Session, number: int, *, is_open: bool = False) -> str:
    """A stored turn; all of them in the same millisecond, the worst case for their order."""
    turn_id = f"{session.id}-{number:02}"
    await bus.zadd(keys.turns(session.id), {turn_id: AT_MS})
    records = {
        f"{turn_id}:question": msgspec.json.encode(Asked(f"question {number}", AT_MS)),
        f"{turn_id}:sent": msgspec.json.encode(Sent(f"question {number}\nwith its entries")),
        f"{turn_id}:feedback": msgspec.json.encode(Thumbed("up")),
    }
    if not is_open:
        answer = Answered("done", f"答案 {number}", decision="compose")
        records[f"{turn_id}:answer"] = msgspec.json.encode(answer)
    await bus.hset(keys.turn(session.id), mapping=records)
    return turn_id


@pytest.fixture
def sessions(bus: Bus) -> Sessions:
    return Sessions(bus, sessions_kept=3)


@pytest.fixture
async def origin(bus: Bus, sessions: Sessions) -> Session:
    session = await sessions.create("lin", "About pianos", "big-7b")
    await bus.hset(keys.session(session.id), mapping={"frozen": b"how it began"})
    return session


async def test_a_branch_has_the_turns_up_to_the_chosen_one_in_their_order(
    bus: Bus, sessions: Sessions, origin: Session
) -> None:
    ids = [await ask(bus, origin, number) for number in range(12)]
    branch = await Branches(bus, sessions).branch(origin, ids[8], "")
    assert (branch.uid, branch.title, branch.model) == ("lin", "About pianos", "big-7b")
    turns = await Turns(bus).latest(branch.id, 100)
    assert [turn.question for turn in turns] == [f"question {n}" for n in range(9)]
    assert [turn.answer for turn in turns] == [f"答案 {n}" for n in range(9)]
    assert turns[0].sent == "question 0\nwith its entries"
    assert all(keys.tag(turn.id) == branch.id for turn in turns)
    assert {turn.thumb for turn in turns} == {"none"}
    assert await bus.hget(keys.session(branch.id), "frozen") == b"how it began"


async def test_a_branch_knows_which_of_its_turns_were_left_out(
    bus: Bus, sessions: Sessions, origin: Session
) -> None:
    ids = [await ask(bus, origin, number) for number in range(3)]
    sent = Sent("question 2", left_out=(ids[0], "trimmed-since"))
    await bus.hset(keys.turn(origin.id), mapping={f"{ids[2]}:sent": msgspec.json.encode(sent)})
    branch = await Branches(bus, sessions).branch(origin, ids[2], "")
    first, _, last = await Turns(bus).latest(branch.id, 100)
    assert last.left_out == (first.id,)
    assert last.sent == "question 2"


async def test_the_branch_is_listed_and_neither_touches_the_other(
    bus: Bus, sessions: Sessions, origin: Session
) -> None:
    turn_id = await ask(bus, origin, 1)
    branch = await Branches(bus, sessions).branch(origin, turn_id, "Another way")
    page = await sessions.page("lin", cursor=None, limit=10)
    assert {one.id: one.title for one in page.items} == {
        origin.id: "About pianos",
        branch.id: "Another way",
    }
    await ask(bus, branch, 2)
    await sessions.delete(origin)
    assert len(await Turns(bus).latest(branch.id, 10)) == 2
    assert await Turns(bus).latest(origin.id, 10) == ()


async def test_a_turn_that_is_open_or_not_there_is_refused_and_leaves_nothing(
    bus: Bus, sessions: Sessions, origin: Session
) -> None:
    still_open = await ask(bus, origin, 1, is_open=True)
    branches = Branches(bus, sessions)
    with pytest.raises(Conflict, match="still being answered"):
        await branches.branch(origin, still_open, "")
    with pytest.raises(NotFound):
        await branches.branch(origin, f"{origin.id}-99", "")
    assert len((await sessions.page("lin", cursor=None, limit=10)).items) == 1


async def test_an_open_turn_before_the_chosen_one_stays_behind(
    bus: Bus, sessions: Sessions, origin: Session
) -> None:
    await ask(bus, origin, 1, is_open=True)
    branch = await Branches(bus, sessions).branch(origin, await ask(bus, origin, 2), "")
    turns = await Turns(bus).latest(branch.id, 10)
    assert [turn.question for turn in turns] == ["question 2"]


async def test_the_bound_of_sessions_holds_for_branches(
    bus: Bus, sessions: Sessions, origin: Session
) -> None:
    turn_id = await ask(bus, origin, 1)
    branches = Branches(bus, sessions)
    await branches.branch(origin, turn_id, "")
    await branches.branch(origin, turn_id, "")
    with pytest.raises(Overloaded):
        await branches.branch(origin, turn_id, "")
    assert len((await sessions.page("lin", cursor=None, limit=10)).items) == 3
