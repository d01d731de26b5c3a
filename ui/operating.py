"""The calls of the operator's screens and of the inbox, over the client's connection."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final
from urllib.parse import quote

from appliance.errors import NotFound, SluiceError
from appliance.schema.inbox import (
    InboxAccepted,
    InboxAck,
    InboxMessage,
    InboxPage,
    InboxPost,
    MessagesRead,
    Related,
    ScheduledMessage,
    Unread,
)
from appliance.schema.logs import LogLevel, LogPage
from appliance.schema.people import ApiKey, ApiKeyPost, Me, NewApiKey, TagPut, User
from appliance.schema.settings import SettingsPage, SettingsPatch
from appliance.schema.status import ModelStatus, Quota
from ui.answers import BAD_ANSWER, Listing, parse
from ui.client import Client, backoff_s

InboxNews = Unread | InboxMessage | MessagesRead | Related
_INBOX_EVENTS: Final[dict[str, type[InboxNews]]] = {
    "unread": Unread,
    "message": InboxMessage,
    "read": MessagesRead,
    "related": Related,
}


class Operating:
    """Models, logs, people and the inbox of the client's own person."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def me(self) -> Me:
        """Whose key ours is. From now on the calls for "our own" are for the person of the key."""
        try:
            me = await self._client.get("/api/me", Me)
        except NotFound:
            return Me(role="admin", name="", uid="")  # a server that cannot tell yet
        if me.uid:
            self._client.uid = me.uid
        return me

    # --- models -------------------------------------------------------------------------

    async def models(self) -> Listing[ModelStatus]:
        return await self._client.get("/api/models", Listing[ModelStatus])

    async def load_model(self, name: str) -> ModelStatus:
        return await self._model(name, "load")

    async def unload_model(self, name: str) -> ModelStatus:
        return await self._model(name, "unload")

    async def _model(self, name: str, deed: str) -> ModelStatus:
        path = f"/api/models/{quote(name, safe='')}/{deed}"
        response = await self._client.send_call("POST", path)
        return parse(response.content, ModelStatus)

    # --- logs ---------------------------------------------------------------------------

    async def logs(self, *, level: LogLevel, words: str, after: int, limit: int) -> LogPage:
        query = {"level": level, "q": words, "after": str(after), "limit": str(limit)}
        return await self._client.get("/api/logs", LogPage, query)

    # --- people -------------------------------------------------------------------------

    async def user(self, uid: str) -> User:
        return await self._client.get(f"/api/users/{quote(uid, safe='')}", User)

    async def quota(self, uid: str) -> Quota:
        return await self._client.get(f"/api/users/{quote(uid, safe='')}/quota", Quota)

    async def tag(self, uid: str, tag: str) -> User:
        return await self._client.write("PUT", _tag_path(uid, tag), User, TagPut())

    async def untag(self, uid: str, tag: str) -> User:
        """Takes it off for good, whoever put it on."""
        response = await self._client.send_call("DELETE", _tag_path(uid, tag))
        return parse(response.content, User)

    # --- messages to people -------------------------------------------------------------

    async def scheduled(self, uid: str) -> Listing[ScheduledMessage]:
        """What waits for its time, or for the end of quiet hours."""
        return await self._client.get(f"{_inbox_path(uid)}/scheduled", Listing[ScheduledMessage])

    async def send_message(self, uid: str, post: InboxPost) -> InboxAccepted:
        return await self._client.write("POST", _inbox_path(uid), InboxAccepted, post)

    async def withdraw_message(self, uid: str, message_id: str) -> None:
        path = f"{_inbox_path(uid)}/scheduled/{quote(message_id, safe='')}"
        await self._client.send_call("DELETE", path)

    # --- keys ---------------------------------------------------------------------------

    async def keys(self) -> Listing[ApiKey]:
        return await self._client.get("/api/keys", Listing[ApiKey])

    async def create_key(self, post: ApiKeyPost) -> NewApiKey:
        return await self._client.write("POST", "/api/keys", NewApiKey, post)

    async def revoke_key(self, key_id: str) -> None:
        await self._client.send_call("DELETE", f"/api/keys/{quote(key_id, safe='')}")

    # --- settings -----------------------------------------------------------------------

    async def settings(self) -> SettingsPage:
        return await self._client.get("/api/settings", SettingsPage)

    async def change_settings(
        self, changes: Mapping[str, str | None], *, seen: str, is_rehearsal: bool = False
    ) -> SettingsPage:
        """Values are TOML, None is the default; `seen` "" takes the file as it is.

        Raises `Conflict` with the reason `edited_since` when it went on since version `seen`.
        """
        response = await self._client.send_call(
            "PATCH",
            "/api/settings",
            query={"dry_run": "true"} if is_rehearsal else None,
            body=SettingsPatch(changes=dict(changes)),
            headers={"If-Match": f'"{seen}"'} if seen else None,
        )
        return parse(response.content, SettingsPage)

    # --- the inbox ----------------------------------------------------------------------

    @property
    def _inbox(self) -> str:
        return _inbox_path(self._client.uid)

    async def inbox(self, *, cursor: str | None = None, limit: int = 100) -> InboxPage:
        query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        return await self._client.get(self._inbox, InboxPage, query)

    async def acknowledge(self, *ids: str, everything: bool = False) -> Unread:
        body = InboxAck(ids=ids, all=everything)
        return await self._client.write("POST", f"{self._inbox}/ack", Unread, body)

    async def follow_inbox(self) -> AsyncGenerator[InboxNews, None]:
        """What happens in the inbox, without end; a broken connection is taken up again.

        Raises what the server answers when that will not pass (`NotFound`, `Unauthorized`).
        """
        last_id = ""
        failures = 0
        while True:
            try:
                stream = self._client.messages(f"{self._inbox}/events", last_id)
                async with aclosing(stream) as messages:
                    async for message in messages:
                        failures = 0
                        kind = _INBOX_EVENTS.get(message.event) if message is not None else None
                        if message is not None and kind is not None:
                            last_id = message.id or last_id
                            yield parse(message.data, kind)
            except SluiceError as error:
                passing = error.code in ("unavailable", "overloaded", "internal")
                if not passing or error.reason == BAD_ANSWER:
                    raise
            failures += 1
            await self._client.pause(backoff_s(failures))


def _inbox_path(uid: str) -> str:
    return f"/api/users/{quote(uid, safe='')}/inbox"


def _tag_path(uid: str, tag: str) -> str:
    return f"/api/users/{quote(uid, safe='')}/tags/{quote(tag, safe='')}"
