"""Messages to the person: listed, counted on every place, followed, acknowledged, and acted on."""

import pytest
from stub_api import NOW_MS, StubApi
from ui_driver import running

from appliance.schema.answers import Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import Done
from appliance.schema.inbox import InboxMessage, MessagesRead, Related, RelatedQuestion

pytestmark = pytest.mark.ui

DONE = Done(finish_reason="stop", model="m", usage=Usage(), timings=Timings())


def message(
    message_id: str, text: str, *, session_id: str = "", kind: str = "message"
) -> InboxMessage:
    return InboxMessage(
        id=message_id,
        text=text,
        sender="payroll",
        sent_at_ms=NOW_MS + int(message_id[-1]),
        expires_at_ms=NOW_MS * 2,
        kind=kind,  # type: ignore[arg-type]  # one of the kinds
        session_id=session_id,
    )


@pytest.fixture
def inbox(api: StubApi) -> StubApi:
    api.inbox = {"m-2": message("m-2", "Second [b]text[/b]"), "m-1": message("m-1", "First")}
    return api


async def test_messages_are_listed_and_counted_everywhere(inbox: StubApi) -> None:
    async with running(inbox) as sluice:
        await sluice.sees("F9 Inbox 2")
        await sluice.press("f9")
        await sluice.sees("Messages: 2, unread: 2", "Second [b]text[/b]", "payroll", "a All read")
        await sluice.press("enter", "escape")
        await sluice.sees("Messages: 2, unread: 1")
        await sluice.press("a")
        await sluice.sees("unread: 0", "⏎ Open")
        await sluice.sees_no("a All read")
        await sluice.sees_no("F9 Inbox 1")
        await sluice.press("f2")
        await sluice.sees("F9 Inbox")
        assert inbox.inbox is not None
        assert all(one.read for one in inbox.inbox.values())


async def test_a_new_message_is_told_at_once_wherever_one_is(inbox: StubApi) -> None:
    async with running(inbox) as sluice:
        await sluice.sees("F9 Inbox 2")
        inbox.tell_inbox("message", message("m-3", "Third"))
        await sluice.sees("F9 Inbox 3", "Message from payroll: Third")
        inbox.tell_inbox("read", MessagesRead(ids=("m-3",), unread=2))
        await sluice.sees("F9 Inbox 2")


async def test_a_message_about_an_answer_leads_to_its_session(inbox: StubApi) -> None:
    turn = Turn(id="r-1", created_at_ms=NOW_MS, question="Left?", answer="Here.", state="done")
    session = inbox.add_session("Left behind", turn)
    async with running(inbox) as sluice:
        await sluice.sees("F9 Inbox 2")
        ready = message("m-3", "Left?", session_id=session.id, kind="answer_ready")
        inbox.tell_inbox("message", ready)
        await sluice.sees("Your answer is ready: Left?")
        await sluice.press("f9")
        await sluice.sees("Messages: 3")
        await sluice.press("home", "enter")
        await sluice.press("escape")
        await sluice.sees("Here.", "Left behind")


async def test_related_questions_are_offered_and_asked(inbox: StubApi) -> None:
    async with running(inbox) as sluice:
        await sluice.sees("F9 Inbox 2")
        request_id = await sluice.ask("How?")
        inbox.emit(request_id, DONE)
        await sluice.sees("finished")
        session_id = list(inbox.sessions)[-1]
        questions = tuple(
            RelatedQuestion(entry_id=f"e-{n}", question=f"And number {n}?") for n in range(2)
        )
        related = Related(session_id=session_id, request_id=request_id, questions=questions)
        inbox.tell_inbox("related", related)
        await sluice.sees("You may also want to ask", "→ And number 1?")
        await sluice.press("ctrl+b", "n")
        await sluice.press("down", "enter")
        await sluice.until(lambda: len(inbox.streams) == 2)
        assert inbox.turns[session_id][-1].question == "And number 1?"


async def test_a_server_without_an_inbox_is_asked_once(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f9")
        await sluice.sees("No messages.", "r Refresh")
        await sluice.until(lambda: "⏎ Open" not in sluice.text and "a All read" not in sluice.text)
        assert len(api.calls("GET", "/api/users/local/inbox/events")) == 1


async def test_the_inbox_comes_back_with_the_server(inbox: StubApi) -> None:
    async with running(inbox) as sluice:
        await sluice.sees("F9 Inbox 2")
        inbox.down()
        inbox.up()
        inbox.tell_inbox("message", message("m-4", "After the pause"))
        await sluice.sees("After the pause", "F9 Inbox 3")


async def test_what_was_missed_while_away_counts_once_and_is_told(inbox: StubApi) -> None:
    async with running(inbox) as sluice:
        await sluice.sees("F9 Inbox 2")
        inbox.down()
        for number in (3, 4):
            inbox.tell_inbox("message", message(f"m-{number}", f"Missed {number}"))
        inbox.up()
        await sluice.sees("F9 Inbox 4", "Missed 3", "Missed 4")
        inbox.tell_inbox("message", message("m-5", "Live"))
        await sluice.sees("F9 Inbox 5", "Live")
