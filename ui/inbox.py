"""Owns what is known of the person's inbox: the messages, how many are unread, and the news.

One follower runs for the whole app; every change is told through one callback. What was read on
another device is read here. Bound: `MESSAGES_MAX` messages, the oldest go first.
"""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import msgspec

from appliance.errors import NotFound
from appliance.schema.inbox import InboxMessage, MessagesRead, Related, Unread
from ui.operating import InboxNews, Operating

MESSAGES_MAX: Final = 500


@dataclass(frozen=True)
class InboxChanged:
    """Messages or the count of unread ones are different."""


@dataclass(frozen=True)
class MessageCame:
    """A message that was not there before."""

    message: InboxMessage


@dataclass(frozen=True)
class RelatedCame:
    """Questions to ask next."""

    related: Related


InboxChange = InboxChanged | MessageCame | RelatedCame


class Inbox:
    """Newest message first."""

    def __init__(self, operating: Operating, *, tell: Callable[[InboxChange], object]) -> None:
        self._operating = operating
        self._tell = tell
        self._messages: dict[str, InboxMessage] = {}
        self._has_begun = False
        self.unread = 0

    @property
    def messages(self) -> tuple[InboxMessage, ...]:
        return tuple(self._messages.values())

    def message(self, message_id: str) -> InboxMessage | None:
        return self._messages.get(message_id)

    async def follow(self) -> None:
        """Takes what comes until it is cancelled; returns when the server has no inbox."""
        try:
            async with aclosing(self._operating.follow_inbox()) as stream:
                async for news in stream:
                    await self._take(news)
        except NotFound:
            return

    async def load(self) -> None:
        """The count and the messages that are in it, so that none of them counts once more when
        its own event comes."""
        page = await self._operating.inbox()
        listed = {message.id: message for message in page.items}
        before, self._messages = self._messages, listed | self._messages | listed
        self._drop_oldest()
        self.unread = page.unread
        for message in reversed(page.items):
            if self._has_begun and not message.read and message.id not in before:
                self._tell(MessageCame(message))
        self._has_begun = True
        self._tell(InboxChanged())

    async def acknowledge(self, message_id: str) -> None:
        message = self._messages.get(message_id)
        if message is not None and not message.read:
            self.unread = (await self._operating.acknowledge(message_id)).unread
            self._mark(message_id)
            self._tell(InboxChanged())

    async def acknowledge_all(self) -> None:
        self.unread = (await self._operating.acknowledge(everything=True)).unread
        for message_id in self._messages:
            self._mark(message_id)
        self._tell(InboxChanged())

    async def _take(self, news: InboxNews) -> None:
        match news:
            case Unread(unread=unread):  # the first of every connection
                self.unread = unread
                await self.load()
            case InboxMessage():
                self._add(news)
            case MessagesRead(ids=ids, unread=unread):
                self.unread = unread
                for message_id in ids:
                    self._mark(message_id)
                self._tell(InboxChanged())
            case Related():
                self._tell(RelatedCame(news))

    def _add(self, message: InboxMessage) -> None:
        if message.id in self._messages:
            return  # the follower begins with what the list had
        newest = next(iter(self._messages.values()), None)
        is_new = newest is None or message.sent_at_ms >= newest.sent_at_ms
        if is_new:
            self._messages = {message.id: message, **self._messages}
        else:
            self._messages[message.id] = message
        self._drop_oldest()
        if is_new and not message.read:
            self.unread += 1
            self._tell(MessageCame(message))
        self._tell(InboxChanged())

    def _drop_oldest(self) -> None:
        for oldest in list(self._messages)[MESSAGES_MAX:]:
            del self._messages[oldest]

    def _mark(self, message_id: str) -> None:
        if message_id in self._messages:
            read = msgspec.structs.replace(self._messages[message_id], read=True)
            self._messages[message_id] = read
