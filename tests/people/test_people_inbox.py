"""The inbox on a real Valkey: written once, bounded, followed by devices with cursors."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.replies import ReplyReader, StreamEvent
from appliance.clock import now_ms
from appliance.errors import Conflict, Invalid, NotFound, Overloaded
from appliance.people.inbox import Inbox
from appliance.people.inbox_store import NEWS_KEPT, Bounds, Item, write
from appliance.people.users import Users
from appliance.schema.inbox import InboxMessage, InboxPost, Related, RelatedQuestion
from appliance.schema.people import User, UserPut
from appliance.settings.people import Inbox as Limits

pytestmark = pytest.mark.integration

TIMEOUT_S = 20.0


@pytest.fixture
async def reader(bus: Bus, valkey_url: str) -> AsyncIterator[ReplyReader]:
    made = ReplyReader(bus, valkey_url, "test")
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def make(bus: Bus, reader: ReplyReader, **limits: object) -> Inbox:
    return Inbox(bus, reader, Users(bus), msgspec.convert(limits, Limits))


@pytest.fixture
def inbox(bus: Bus, reader: ReplyReader) -> Inbox:
    return make(bus, reader, per_minute=0)


async def post(inbox: Inbox, text: str, uid: str = "lin", key: str = "", **more: object) -> str:
    body = msgspec.convert({"text": text} | more, InboxPost)
    return (await inbox.post(uid, body, sender="crm", idempotency_key=key)).id


async def texts(inbox: Inbox, uid: str = "lin") -> list[str]:
    page = await inbox.page(uid, cursor=None, limit=500)
    return [message.text for message in page.items]


async def heard(inbox: Inbox, count: int, after: str = "0-0") -> list[StreamEvent]:
    """The first `count` events that a device hears, the greeting included."""
    found: list[StreamEvent] = []
    async with asyncio.timeout(TIMEOUT_S), contextlib.aclosing(inbox.follow("lin", after)) as all_:
        async for event in all_:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_messages_are_listed_newest_first_in_pages_and_only_to_their_person(
    inbox: Inbox,
) -> None:
    for n in range(5):
        await post(inbox, f"第{n}条")
    await post(inbox, "for mei", uid="mei")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await inbox.page("lin", cursor=cursor, limit=2)
        seen += [message.text for message in page.items]
        assert page.unread == 5
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == ["第4条", "第3条", "第2条", "第1条", "第0条"]
    assert await texts(inbox, "mei") == ["for mei"]
    with pytest.raises(Invalid):
        await inbox.page("lin", cursor="elsewhere", limit=2)


async def test_reading_on_one_device_is_told_to_the_others(inbox: Inbox) -> None:
    first, second = await post(inbox, "one"), await post(inbox, "two")
    phone = asyncio.create_task(heard(inbox, 4))
    assert (await inbox.acknowledge("lin", (first, "m-unknown"), everything=False)).unread == 1
    events = await phone
    assert [event.event for event in events] == ["unread", "message", "message", "read"]
    assert msgspec.json.decode(events[-1].data) == {"ids": [first], "unread": 1}
    assert (await inbox.acknowledge("lin", (first,), everything=False)).unread == 1
    assert (await inbox.acknowledge("lin", (), everything=True)).unread == 0
    page = await inbox.page("lin", cursor=None, limit=10)
    assert {message.id: message.read for message in page.items} == {first: True, second: True}


async def test_each_device_goes_on_after_the_last_event_it_saw(inbox: Inbox) -> None:
    await post(inbox, "one")
    await post(inbox, "two")
    events = await heard(inbox, 3)
    await post(inbox, "three")
    laptop = await heard(inbox, 3, events[1].id)
    phone = await heard(inbox, 2, events[2].id)
    decoded = [msgspec.json.decode(e.data, type=InboxMessage).text for e in laptop[1:]]
    assert decoded == ["two", "three"]
    assert msgspec.json.decode(phone[1].data, type=InboxMessage).text == "three"
    assert msgspec.json.decode(phone[0].data) == {"unread": 3}


@pytest.mark.parametrize("beyond", ["99999999999999-0", f"{2**64 - 1}-{2**64 - 1}"])
async def test_a_device_that_claims_to_have_seen_what_is_to_come_keeps_nothing_from_the_others(
    inbox: Inbox, reader: ReplyReader, beyond: str
) -> None:
    await post(inbox, "one")
    strange = asyncio.create_task(heard(inbox, 2, beyond))
    while reader.following < 1:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    phone = asyncio.create_task(heard(inbox, 3))
    while reader.following < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await post(inbox, "two")
    for events in await asyncio.gather(strange, phone):
        assert msgspec.json.decode(events[-1].data, type=InboxMessage).text == "two"
    assert (await strange)[0].id == (await phone)[1].id


async def test_a_waiting_device_hears_a_message_as_it_comes(inbox: Inbox) -> None:
    devices = [asyncio.create_task(heard(inbox, 2)) for _ in range(20)]
    await asyncio.sleep(0)
    await post(inbox, "hello")
    for events in await asyncio.gather(*devices):
        assert msgspec.json.decode(events[1].data, type=InboxMessage).text == "hello"


async def test_an_idempotency_key_writes_once_and_not_another_message(inbox: Inbox) -> None:
    ids = await asyncio.gather(*(post(inbox, "once", key="k1") for _ in range(8)))
    assert len(set(ids)) == 1
    assert await texts(inbox) == ["once"]
    with pytest.raises(Conflict):
        await post(inbox, "something else", key="k1")
    body = InboxPost(text="once")
    other = await inbox.post("lin", body, sender="another service", idempotency_key="k1")
    assert not other.repeated, "a key is its sender's own"
    namesake = await inbox.post("lin", body, sender="crm", sender_id="k9", idempotency_key="k1")
    assert not namesake.repeated, "also of two with one name"


async def test_a_repeated_message_is_known_after_it_has_expired(bus: Bus, inbox: Inbox) -> None:
    first = await post(inbox, "once", key="k1")
    ((_, fields),) = await bus.xrange(keys.inbox("lin"), "-", "+", 10)
    message = msgspec.json.decode(fields[b"data"], type=InboxMessage)
    old = fields | {
        b"data": msgspec.json.encode(msgspec.structs.replace(message, expires_at_ms=1)),
        b"expires": b"1",
    }
    await bus.delete(keys.inbox("lin"))
    await bus.xadd(keys.inbox("lin"), {name.decode(): value for name, value in old.items()})
    assert await texts(inbox) == []
    assert await post(inbox, "once", key="k1") == first


async def test_a_sender_beyond_its_rate_is_told_when_to_come_back(
    bus: Bus, reader: ReplyReader
) -> None:
    inbox = make(bus, reader, per_minute=2)
    await post(inbox, "1", key="a")
    await post(inbox, "2")
    with pytest.raises(Overloaded) as refused:
        await post(inbox, "3")
    assert refused.value.reason == "inbox_per_minute"
    assert 0 < (refused.value.retry_after_s or 0) <= 60
    await post(inbox, "1", key="a")  # what came before costs nothing
    await inbox.post("lin", InboxPost(text="4"), sender="somebody else")
    assert await texts(inbox) == ["4", "2", "1"]


async def test_at_the_bound_what_was_read_leaves_and_nothing_unread_is_lost(
    bus: Bus, reader: ReplyReader
) -> None:
    inbox = make(bus, reader, bound=10, per_minute=0)
    ids = [await post(inbox, str(n)) for n in range(10)]
    with pytest.raises(Overloaded) as refused:
        await post(inbox, "one too many")
    assert refused.value.reason == "inbox_full"
    await inbox.acknowledge("lin", (ids[3], ids[5]), everything=False)
    await post(inbox, "10")
    assert set(await texts(inbox)) >= {str(n) for n in range(11) if n not in (3, 5)}
    for n in range(50):
        await inbox.acknowledge("lin", (await post(inbox, f"more {n}"),), everything=False)
    assert await bus.xlen(keys.inbox("lin")) <= 10 + NEWS_KEPT
    assert await bus.scard(keys.inbox_read("lin")) <= 11
    assert set(await texts(inbox)) >= {str(n) for n in range(11) if n not in (3, 5)}


async def test_an_expired_message_is_neither_listed_nor_told_and_gives_room(
    bus: Bus, reader: ReplyReader
) -> None:
    inbox = make(bus, reader, bound=10, per_minute=0)
    message = InboxMessage(id="m0", text="short", sender="crm", sent_at_ms=0, expires_at_ms=1)
    item = Item(id="m0", data=msgspec.json.encode(message), expires_at_ms=1)
    assert await write(bus, "lin", item, Bounds(10, 10, 1000), now_ms=0) == 1
    for n in range(10):
        await post(inbox, str(n))
    assert "short" not in await texts(inbox)
    events = await heard(inbox, 2)
    assert msgspec.json.decode(events[1].data, type=InboxMessage).text == "0"


async def test_a_dated_message_waits_is_shown_as_waiting_and_is_delivered_once(
    bus: Bus, inbox: Inbox
) -> None:
    due = now_ms() + 3_600_000
    later = await post(inbox, "later", key="d", deliver_at_ms=due)
    gone = await post(inbox, "withdrawn", deliver_at_ms=due)
    assert await post(inbox, "later", key="d", deliver_at_ms=due) == later
    soon = await post(inbox, "soon", deliver_at_ms=due - 1000)
    waiting = [(one.text, one.deliver_at_ms) for one in await inbox.waiting("lin")]
    assert waiting == [("soon", due - 1000), ("later", due), ("withdrawn", due)]
    await inbox.withdraw("lin", soon)
    await inbox.withdraw("lin", gone)
    with pytest.raises(NotFound):
        await inbox.withdraw("lin", gone)
    await inbox.deliver_due(due - 1)
    assert await texts(inbox) == []
    await asyncio.gather(*(inbox.deliver_due(due) for _ in range(4)))
    assert await texts(inbox) == ["later"]
    assert await inbox.waiting("lin") == ()
    assert await bus.zcard(keys.SCHEDULED) == 0
    assert await post(inbox, "later", key="d", deliver_at_ms=due) == later


async def test_what_is_withdrawn_while_it_is_being_delivered_does_not_arrive(
    bus: Bus, reader: ReplyReader
) -> None:
    class Meanwhile(Users):
        """Withdraws a message when somebody looks at its person's quiet hours."""

        message_id = ""

        async def find(self, uid: str) -> User:
            if self.message_id:
                message_id, self.message_id = self.message_id, ""
                await late.withdraw(uid, message_id)
            return await super().find(uid)

    users = Meanwhile(bus)
    late = Inbox(bus, reader, users, Limits(per_minute=0))
    due = now_ms() + 3_600_000
    users.message_id = await post(late, "withdrawn", key="k", deliver_at_ms=due)
    await late.deliver_due(due)
    assert await texts(late) == []
    assert await bus.zcard(keys.SCHEDULED) == 0


async def test_messages_that_wait_are_bounded(bus: Bus, reader: ReplyReader) -> None:
    inbox = make(bus, reader, scheduled_bound=2, per_minute=0)
    due = now_ms() + 3_600_000
    for n in range(2):
        await post(inbox, str(n), key=f"k{n}", deliver_at_ms=due)
    with pytest.raises(Overloaded) as refused:
        await post(inbox, "one too many", deliver_at_ms=due)
    assert refused.value.reason == "inbox_full"
    assert await bus.zcard(keys.SCHEDULED) == 2


async def test_a_persons_own_quiet_hours_hold_and_an_urgent_message_breaks_them(
    bus: Bus, reader: ReplyReader
) -> None:
    inbox = make(bus, reader, per_minute=0)
    quiet = {"quiet_hours": "00:00-23:59", "timezone": "Asia/Shanghai"}
    await Users(bus).replace("lin", UserPut(attributes=quiet))
    accepted = await inbox.post("lin", InboxPost(text="calm"), sender="crm")
    if accepted.state == "delivered":
        pytest.skip("the one minute of the day that is not quiet")
    assert accepted.reason == "quiet_hours"
    await inbox.post("lin", InboxPost(text="fire", urgent=True), sender="crm")
    assert await texts(inbox) == ["fire"]
    await inbox.deliver_due(accepted.deliver_at_ms)
    assert await texts(inbox) == ["calm", "fire"]


async def test_our_own_messages_are_written_once_per_key(inbox: Inbox) -> None:
    for _ in range(3):
        await inbox.answer_found(
            "lin", "哪里停车？", entry_id="f1", answer="B2 层。", key="found f1"
        )
    page = await inbox.page("lin", cursor=None, limit=10)
    assert [(m.kind, m.title, m.text, m.entry_id) for m in page.items] == [
        ("answer_found", "哪里停车？", "B2 层。", "f1")
    ]


async def test_related_questions_are_told_to_devices_and_are_no_messages(inbox: Inbox) -> None:
    question = RelatedQuestion(entry_id="f1", question="And the price?")
    await inbox.offer("lin", Related(session_id="s", request_id="s-1", questions=(question,)))
    await inbox.offer("lin", Related(session_id="s", request_id="s-1", questions=(question,)))
    await post(inbox, "a message")
    events = await heard(inbox, 3)
    assert [event.event for event in events] == ["unread", "related", "message"]
    page = await inbox.page("lin", cursor=None, limit=10)
    assert (len(page.items), page.unread) == (1, 1)


async def test_news_of_reading_and_asking_push_out_no_message(
    bus: Bus, reader: ReplyReader
) -> None:
    inbox = make(bus, reader, bound=10, per_minute=0)
    ids = [await post(inbox, str(n), key=f"k{n}") for n in range(10)]
    await inbox.acknowledge("lin", (ids[0],), everything=False)
    assert len(await texts(inbox)) == 10, "what was read in a full inbox is still there"
    for n in range(NEWS_KEPT + 5):
        await inbox.offer("lin", Related(session_id="s", request_id=f"s-{n}", questions=()))
    assert await bus.xlen(keys.inbox("lin")) == 10 + NEWS_KEPT
    assert await post(inbox, "0", key="k0") == ids[0], "its key is known"


async def test_an_erased_inbox_leaves_nothing(bus: Bus, inbox: Inbox) -> None:
    await post(inbox, "a secret", key="k")
    await post(inbox, "a secret", deliver_at_ms=now_ms() + 1_000_000)
    await inbox.acknowledge("lin", (), everything=True)
    await inbox.erase("lin")
    assert await bus.eval("return redis.call('KEYS', '*lin*')", 0) == []
    assert await bus.zcard(keys.SCHEDULED) == 0
    assert await texts(inbox) == []
