"""What a person's prompts begin with: made once for a session, then kept as it is.

System prompt, fragments for the person's tags and the profile are one message. The first question
of a session freezes it in the session's record, so that every later prompt starts with the same
tokens whatever changes meanwhile; a new session begins with what is true then. `thaw` lets a
session begin anew, at the price of computing its conversation again.
"""

import msgspec

from appliance import keys
from appliance.access.earlier import count_answered, keep_recent
from appliance.access.fragments import Fragments
from appliance.access.prompt import system_message
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.clock import now_ms
from appliance.errors import NotFound
from appliance.people.turns import Turns
from appliance.people.users import Users
from appliance.schema.people import Profile, PromptAudit, PromptMessage, PromptPreview
from appliance.schema.requests import ChatMessage
from appliance.settings import Settings

# KEYS session; ARGV profile: the one that holds from now on; '' when there is no such session
_FREEZE = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return '' end
redis.call('HSETNX', KEYS[1], 'frozen', ARGV[1])
return redis.call('HGET', KEYS[1], 'frozen')
""")
# KEYS session
_THAW = Script("return redis.call('HDEL', KEYS[1], 'frozen')")

UNTOLD = frozenset({"quiet_hours", "timezone"})


class Profiles:
    """Makes, freezes and shows what prompts begin with."""

    def __init__(
        self, bus: Bus, users: Users, turns: Turns, fragments: Fragments, settings: Settings
    ) -> None:
        self._bus = bus
        self._users = users
        self._turns = turns
        self._fragments = fragments
        self._settings = settings
        specs = settings.people.attributes
        self._untold = UNTOLD | {spec.name for spec in specs if not spec.told}

    async def system(self, uid: str, session_id: str) -> ChatMessage:
        """The first message of this prompt; a session's is frozen by its first question."""
        if not session_id:
            return (await self._made(uid)).system
        held = await self._held(session_id)
        if held is None:
            made = msgspec.json.encode(await self._made(uid))
            frozen = await _FREEZE.run(self._bus, (keys.session(session_id),), made)
            held = msgspec.json.decode(frozen or made, type=Profile)
        return held.system

    async def peek(self, uid: str, session_id: str) -> ChatMessage:
        """The same without freezing anything."""
        held = await self._held(session_id)
        return (held or await self._made(uid)).system

    async def thaw(self, session_id: str) -> None:
        """The session's next question begins with what is true then."""
        await _THAW.run(self._bus, (keys.session(session_id),))

    async def preview(self, uid: str) -> PromptPreview:
        person = await self._users.find(uid)
        fragments = await self._fragments.of(person.tags)
        system = (await self._made(uid)).system
        return PromptPreview(
            uid=uid,
            system=system.content,
            public_chars=system.public_chars,
            fragments=fragments,
            tags=person.details,
            attributes=person.attributes,
            untold=tuple(sorted(self._untold & person.attributes.keys())),
        )

    async def audit(self, session_id: str, request_id: str, *, latest: int) -> PromptAudit:
        """What was sent for this turn. Raises NotFound for a turn that is not kept."""
        turns = await self._turns.latest(session_id, latest)
        position = next((n for n, turn in enumerate(turns) if turn.id == request_id), None)
        if position is None:
            raise NotFound(
                f"no turn {request_id}", hint="turns are kept as the settings say", reason="no_turn"
            )
        turn, before = turns[position], turns[:position]
        held = await self._held(session_id)
        bounds = self._settings.sessions
        recent = keep_recent(before, bounds.history_chars, turns_kept=bounds.turns_kept)
        kept = [one for one in recent if one.id not in turn.left_out]
        messages = [PromptMessage(role="system", content=held.system.content)] if held else []
        for one in kept:
            messages.append(PromptMessage(role="user", content=one.sent or one.question))
            messages.append(PromptMessage(role="assistant", content=one.answer))
        messages.append(PromptMessage(role="user", content=turn.sent or turn.question))
        return PromptAudit(
            request_id=request_id,
            session_id=session_id,
            messages=tuple(messages),
            fragments=held.fragments if held else (),
            user_version=held.user_version if held else 0,
            cut_turns=count_answered(before) - len(kept),
            exact=bool(held and turn.sent and len(turns) < latest),
        )

    async def _held(self, session_id: str) -> Profile | None:
        body = await self._bus.hget(keys.session(session_id), "frozen")
        return msgspec.json.decode(body, type=Profile) if body else None

    async def _made(self, uid: str) -> Profile:
        person = await self._users.find(uid)
        fragments = await self._fragments.of(person.tags)
        message = system_message(
            self._settings.prompt.system,
            [one.text for one in fragments],
            person,
            untold=self._untold,
        )
        names = tuple(one.name for one in fragments)
        return Profile(
            system=message, user_version=person.version, fragments=names, made_at_ms=now_ms()
        )
