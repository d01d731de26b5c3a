"""The inbox of each person: messages from us and from any service that has a key.

Rules of time are in `quiet`, what is stored and how in `inbox_store`. Everything here may be
repeated: a post with an idempotency key writes once, a delivery that a crash cut off writes once.

`follow` gives what is there and then what comes, for any number of devices; each device keeps its
own cursor, the stream id of the last event it saw. What one device reads the others are told.
"""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from appliance import keys
from appliance.bus import gates
from appliance.bus.client import Bus
from appliance.bus.replies import ReplyReader, StreamEvent, parse_id
from appliance.clock import now_ms
from appliance.errors import Conflict, Invalid, NotFound, Overloaded
from appliance.people import inbox_store
from appliance.people.inbox_store import Bounds, Item
from appliance.people.quiet import Plan, QuietHours, Wanted, after_quiet_hours, plan, quiet_hours
from appliance.people.users import Users
from appliance.schema.inbox import (
    InboxAccepted,
    InboxMessage,
    InboxPage,
    InboxPost,
    Related,
    ScheduledMessage,
    Unread,
)
from appliance.settings.people import Inbox as Limits

DAY_MS = 86_400_000
OURSELVES = "sluice"
BEGINNING = "0-0"
DUE_BATCH = 100
FULL_RETRY_MS = 3_600_000


class Later(msgspec.Struct, frozen=True):
    """A message that waits for its time, with what tells a repeated post from a new one."""

    message: InboxMessage
    key: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Entry:
    """A message and its stream id, after which a list or a follower goes on."""

    cursor: str
    message: InboxMessage


class Inbox:
    """Writes to people, lists what they got, and lets their devices follow it."""

    def __init__(self, bus: Bus, replies: ReplyReader, users: Users, limits: Limits) -> None:
        self._bus = bus
        self._replies = replies
        self._users = users
        self._limits = limits
        self._kept_ms = int(limits.kept_days * DAY_MS)
        self._bounds = Bounds(limits.bound, limits.scheduled_bound, self._kept_ms // 1000)

    # -- writing

    async def post(
        self,
        uid: str,
        body: InboxPost,
        *,
        sender: str,
        sender_id: str = "",
        idempotency_key: str = "",
    ) -> InboxAccepted:
        """A message from outside; `sender_id` tells senders of one name apart.

        Raises Overloaded past the sender's rate or the person's bound, Conflict when the key came
        with another message, Invalid when it would expire unread."""
        key = digest = ""
        if idempotency_key:
            key = _hash((sender_id or sender).encode(), idempotency_key.encode())
            digest = _hash(msgspec.json.encode(body))
            known = await inbox_store.find(self._bus, uid, key)
            if known is not None:
                return await self._repeated(uid, known, digest)
        wanted = Wanted(body.deliver_at_ms, body.expires_at_ms, body.urgent)
        planned = plan(
            wanted, await self._quiet(uid), now_ms=now_ms(), kept_ms=self._kept_ms
        )  # before it counts
        await self._count(sender, sender_id or sender)
        message = InboxMessage(
            id=keys.new_message_id(),
            text=body.text,
            title=body.title,
            sender=sender,
            session_id=body.session_id,
            sent_at_ms=now_ms(),
            expires_at_ms=planned.expires_at_ms,
            urgent=body.urgent,
        )
        if not await self._write(uid, Later(message, key, digest), planned):
            known = await inbox_store.find(self._bus, uid, key)  # another copy was faster
            if known is not None:
                return await self._repeated(uid, known, digest)
        return _accepted(message.id, planned)

    async def tell(self, uid: str, message: InboxMessage, *, key: str) -> None:
        """A message of our own, once per key; it waits for the end of quiet hours too.

        Raises Overloaded past the person's bound.
        """
        planned = plan(Wanted(), await self._quiet(uid), now_ms=now_ms(), kept_ms=self._kept_ms)
        dated = msgspec.structs.replace(
            message, sent_at_ms=now_ms(), expires_at_ms=planned.expires_at_ms
        )
        await self._write(uid, Later(dated, _hash(OURSELVES.encode(), key.encode())), planned)

    async def answer_found(
        self,
        uid: str,
        question: str,
        *,
        answer: str,
        key: str,
        entry_id: str = "",
        session_id: str = "",
        request_id: str = "",
    ) -> None:
        """There is an answer now to what this person asked in vain. Once per key."""
        message = InboxMessage(
            id=keys.new_message_id(),
            kind="answer_found",
            title=question[:200],
            text=answer,
            sender=OURSELVES,
            entry_id=entry_id,
            session_id=session_id,
            request_id=request_id,
            sent_at_ms=0,
            expires_at_ms=0,
        )
        await self.tell(uid, message, key=key)

    async def offer(self, uid: str, related: Related) -> None:
        """Tells the person's devices what may be asked next. It is no message to be read."""
        item = Item(
            id=related.request_id,
            data=msgspec.json.encode(related),
            expires_at_ms=0,
            event="related",
        )
        await inbox_store.write(self._bus, uid, item, self._bounds, now_ms=now_ms())

    async def _count(self, sender: str, counted: str) -> None:
        limit = self._limits.per_minute
        wait_s = await gates.take(self._bus, f"inbox:{counted}", limit) if limit else 0.0
        if wait_s:
            raise Overloaded(
                f"{sender} has written {limit} messages in this minute, which is the bound",
                hint="write later, or raise inbox.per_minute in the settings",
                reason="inbox_per_minute",
                retry_after_s=wait_s,
                facts={"bound": limit},
            )

    async def _write(self, uid: str, later: Later, planned: Plan) -> bool:
        """False when the same was there already."""
        if planned.reason:
            item = Item(
                id=later.message.id,
                data=msgspec.json.encode(later),
                expires_at_ms=planned.expires_at_ms,
                key=later.key,
                digest=later.digest,
            )
            written = await inbox_store.schedule(
                self._bus, uid, item, self._bounds, due_ms=planned.deliver_at_ms
            )
            full, bound = "messages wait for their time", "inbox.scheduled_bound"
        else:
            written = await self._deliver(uid, later)
            full, bound = "messages are unread", "inbox.bound"
        if written < 0:
            raise Overloaded(
                f"too many {full} in the inbox of {uid}",
                hint=f"wait until some are read or expire, or raise {bound} in the settings",
                reason="inbox_full",
                retry_after_s=3600.0,
            )
        return bool(written)

    async def _deliver(self, uid: str, later: Later, *, waited: bool = False) -> int:
        item = Item(
            id=later.message.id,
            data=msgspec.json.encode(later.message),
            expires_at_ms=later.message.expires_at_ms,
            key=later.key,
            digest=later.digest,
        )
        return await inbox_store.write(
            self._bus, uid, item, self._bounds, now_ms=now_ms(), waited=waited
        )

    async def _repeated(self, uid: str, known: inbox_store.Found, digest: str) -> InboxAccepted:
        if known.digest != digest:
            raise Conflict(
                "this idempotency key came with another message",
                hint="send each message with a key of its own",
                reason="idempotency_key",
            )
        body = await self._bus.hget(keys.inbox_later(uid), known.id)
        if body:
            message = msgspec.json.decode(body, type=Later).message
            due = await self._bus.zscore(keys.SCHEDULED, f"{uid}/{known.id}")
            planned = Plan(int(due or message.sent_at_ms), message.expires_at_ms, "asked")
            return _accepted(known.id, planned, repeated=True)
        for entry in await self._entries(uid, expired=True):
            if entry.message.id == known.id:
                at_ms = parse_id(entry.cursor)[0]
                planned = Plan(at_ms, entry.message.expires_at_ms)
                return _accepted(known.id, planned, repeated=True)
        raise Conflict("the message is being moved", hint="send it again", reason="message_moving")

    async def _quiet(self, uid: str) -> QuietHours | None:
        person = (await self._users.find(uid)).attributes
        return quiet_hours(
            person.get("quiet_hours", self._limits.quiet_hours),
            person.get("timezone", self._limits.timezone),
        )

    # -- messages whose time has come

    async def deliver_due(self, at_ms: int) -> int:
        """Delivers what is due, at most DUE_BATCH; how many it looked at.

        What fell into quiet hours since waits on; a full inbox is tried again after an hour.
        """
        due = await self._bus.zrangebyscore(keys.SCHEDULED, "-inf", at_ms, start=0, num=DUE_BATCH)
        for raw in due:
            uid, _, message_id = raw.decode().partition("/")
            body = await self._bus.hget(keys.inbox_later(uid), message_id)
            if not body:
                await self._bus.zrem(keys.SCHEDULED, raw.decode())
                continue
            later = msgspec.json.decode(body, type=Later)
            again_ms = await self._deliver_one(uid, later, at_ms)
            if again_ms is None:
                await inbox_store.unschedule(self._bus, uid, message_id, later.key)
            else:
                await self._bus.zadd(keys.SCHEDULED, {raw.decode(): again_ms}, xx=True)
        return len(due)

    async def _deliver_one(self, uid: str, later: Later, at_ms: int) -> int | None:
        """When to try again, None when it is done with: delivered, or expired."""
        if later.message.expires_at_ms <= at_ms:
            return None
        due_ms = at_ms if later.message.urgent else after_quiet_hours(at_ms, await self._quiet(uid))
        if due_ms > at_ms:
            return due_ms
        written = await self._deliver(uid, later, waited=True)
        return at_ms + FULL_RETRY_MS if written < 0 else None

    async def waiting(self, uid: str) -> tuple[ScheduledMessage, ...]:
        """Messages to this person whose time has not come, by that time."""
        held = await self._bus.hgetall(keys.inbox_later(uid))
        found = [
            msgspec.json.decode(body, type=Later).message
            for name, body in held.items()
            if not name.startswith(b"k:")
        ]
        if not found:
            return ()
        names = [f"{uid}/{message.id}" for message in found]
        dues = await self._bus.zmscore(keys.SCHEDULED, names)
        dated = [
            ScheduledMessage(
                **msgspec.structs.asdict(message), deliver_at_ms=int(due or message.sent_at_ms)
            )
            for message, due in zip(found, dues, strict=True)
        ]
        return tuple(sorted(dated, key=lambda one: (one.deliver_at_ms, one.sent_at_ms)))

    async def withdraw(self, uid: str, message_id: str) -> None:
        """A message that has not been delivered never will be. Raises NotFound."""
        body = await self._bus.hget(keys.inbox_later(uid), message_id)
        key = msgspec.json.decode(body, type=Later).key if body else ""
        if not body or not await inbox_store.unschedule(self._bus, uid, message_id, key):
            raise NotFound(
                f"no message {message_id} waits for {uid}",
                hint="it may have been delivered",
                reason="no_message",
            )

    # -- reading

    async def page(self, uid: str, *, cursor: str | None, limit: int) -> InboxPage:
        """What is kept of a person's messages, the newest first."""
        entries = await self._entries(uid)
        unread = sum(not entry.message.read for entry in entries)
        older = [
            entry
            for entry in reversed(entries)
            if cursor is None or parse_id(entry.cursor) < _position(cursor)
        ]
        return InboxPage(
            items=tuple(entry.message for entry in older[:limit]),
            unread=unread,
            cursor=older[limit - 1].cursor if len(older) > limit else None,
        )

    async def unread(self, uid: str) -> int:
        return sum(not entry.message.read for entry in await self._entries(uid))

    async def acknowledge(self, uid: str, ids: tuple[str, ...], *, everything: bool) -> Unread:
        """Marks messages as read on all devices; what is not there is passed over."""
        left = await inbox_store.acknowledge(
            self._bus, uid, ids, self._bounds, everything=everything, now_ms=now_ms()
        )
        return Unread(unread=left)

    async def follow(self, uid: str, after: str = BEGINNING) -> AsyncGenerator[StreamEvent, None]:
        """`unread` first, then every event after the id `after`, without end; close it.

        An id that lies beyond all there is counts as the last one."""
        after = await self._replies.reached(keys.inbox(uid), after)
        first = Unread(unread=await self.unread(uid))
        yield StreamEvent(after, "unread", msgspec.json.encode(first))
        following = self._replies.follow_stream(keys.inbox(uid), after)
        try:
            async for event in following:
                shown = await self._shown(uid, event)
                if shown is not None:
                    yield shown
        finally:
            await following.aclose()

    async def erase(self, uid: str) -> None:
        """Nothing of the inbox stays; devices that follow it hear nothing of that."""
        for message in await self.waiting(uid):
            await self._bus.zrem(keys.SCHEDULED, f"{uid}/{message.id}")
        await self._bus.delete(keys.inbox(uid), keys.inbox_read(uid), keys.inbox_later(uid))

    async def _shown(self, uid: str, event: StreamEvent) -> StreamEvent | None:
        """The event as it stands now: a message knows whether it was read, expired ones go."""
        if event.event != "message":
            return event
        message = msgspec.json.decode(event.data, type=InboxMessage)
        if message.expires_at_ms <= now_ms():
            return None
        read = message.id.encode() in await self._bus.smembers(keys.inbox_read(uid))
        shown = msgspec.structs.replace(message, read=read)
        return StreamEvent(event.id, event.event, msgspec.json.encode(shown))

    async def _entries(self, uid: str, *, expired: bool = False) -> list[Entry]:
        """Messages that have not expired, or all, the oldest first."""
        count = 2 * self._bounds.messages + inbox_store.NEWS_KEPT
        rows = await self._bus.xrange(keys.inbox(uid), "-", "+", count)
        read = await self._bus.smembers(keys.inbox_read(uid))
        now = now_ms()
        found = []
        for stream_id, fields in rows:
            if fields[b"event"] != b"message":
                continue
            if int(fields[b"expires"]) <= now and not expired:
                continue
            message = msgspec.json.decode(fields[b"data"], type=InboxMessage)
            shown = msgspec.structs.replace(message, read=fields[b"id"] in read)
            found.append(Entry(stream_id.decode(), shown))
        return found


def _accepted(message_id: str, planned: Plan, *, repeated: bool = False) -> InboxAccepted:
    return InboxAccepted(
        id=message_id,
        state="scheduled" if planned.reason else "delivered",
        deliver_at_ms=planned.deliver_at_ms,
        expires_at_ms=planned.expires_at_ms,
        reason=planned.reason,
        repeated=repeated,
    )


def _position(cursor: str) -> tuple[int, int]:
    try:
        return parse_id(cursor)
    except ValueError:
        raise Invalid(
            "the cursor is not one of ours",
            hint="start again without a cursor",
            reason="bad_cursor",
        ) from None


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
