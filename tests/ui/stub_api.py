"""A scripted server that speaks the HTTP contract, for tests and for looking at the UI by hand.

Nothing happens by itself: a test emits the events of a request one by one, breaks connections,
and takes the server away and back; what was asked is recorded. Nothing here shares code with the
client it is used to judge.
"""

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec
from stub_curation import StubCuration
from stub_http import Asked, LoopbackServer, Reply

from appliance.schema.answers import Match
from appliance.schema.conversations import (
    BranchPost,
    Hit,
    Hits,
    Session,
    SessionPatch,
    SessionPost,
    Turn,
)
from appliance.schema.curation import FeedbackPost, ImportJob
from appliance.schema.events import EVENT_NAMES, Delta, Event
from appliance.schema.faq import Entry, EntryPut, FaqTest, ImportReport, Labels
from appliance.schema.fields import Page
from appliance.schema.inbox import (
    InboxAccepted,
    InboxMessage,
    InboxPage,
    InboxPost,
    ScheduledMessage,
    Unread,
)
from appliance.schema.logs import LogLine, LogPage
from appliance.schema.people import ApiKey, ApiKeyPost, Me, NewApiKey, User
from appliance.schema.problems import ErrorBody, ErrorDetail
from appliance.schema.requests import TERMINAL_STATES, Accepted, MessagePost, RequestStatus
from appliance.schema.settings import Setting, SettingsPage
from appliance.schema.setup import (
    DownloadPost,
    DownloadStatus,
    SetupMachine,
    SetupModel,
    SetupPut,
    SetupStatus,
)
from appliance.schema.status import FaqStatus, ModelStatus, QueueStatus, Quota, Status

KEY = "test-key"
NOW_MS = 1_763_900_000_000  # 2025-11-23 12:13:20 UTC


@dataclass
class Stream:
    """The events of one request, in order, as (id, name, data)."""

    session_id: str
    events: list[tuple[str, str, bytes]] = field(default_factory=list)
    grew: asyncio.Event = field(default_factory=asyncio.Event)


def problem(status: int, code: str, message: str, **facts: Any) -> Reply:  # Any: record fields
    detail = ErrorDetail(code=code, message=message, hint=facts.pop("hint", ""), type=code, **facts)
    return Reply(status, ErrorBody(error=detail))


class StubApi(LoopbackServer):
    """Use it as a context manager; `url` is where it listens."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, Session] = {}
        self.turns: dict[str, list[Turn]] = {}
        self.warmed: list[str] = []
        self.entries: dict[str, Entry] = {}
        self.demo: tuple[Entry, ...] = ()
        self.matches: tuple[Match, ...] = ()
        self.outcome: FaqTest | None = None
        self.curation = StubCuration()
        self.models: dict[str, ModelStatus] = {}
        self.users: dict[str, User] = {}
        self.quotas: dict[str, Quota] = {}
        self.keys: dict[str, ApiKey] = {}
        self.me = Me(role="admin", name="admin", uid="")
        self.settings: dict[str, Setting] = {}
        self.settings_version = 1
        self.log: tuple[LogLine, ...] = ()
        self.inbox: dict[str, InboxMessage] | None = None
        self.scheduled: dict[str, ScheduledMessage] = {}
        self.inbox_stream = Stream("")
        self.status = empty_status()
        self.setup: SetupStatus | None = setup_status()
        self.is_ready = True
        self.checks: dict[str, str] = {}
        self.script: tuple[Event, ...] = ()
        self.streams: dict[str, Stream] = {}
        self.overrides: dict[tuple[str, str], Reply] = {}
        self.page_limit = 500
        self.has_keep_alive_comments = False
        self.forgets_last_id = False
        self._ids = itertools.count(1)

    # --- the test's side --------------------------------------------------------------------

    def emit(self, request_id: str, *events: Event) -> None:
        """Appends events to a request's stream and to its stored turn."""

        async def append() -> None:
            for event in events:
                self._append(request_id, event)

        self.call(append())

    def add_session(self, title: str, *turns: Turn, minutes_ago: int = 0) -> Session:
        at_ms = NOW_MS - minutes_ago * 60_000
        session = Session(
            id=f"s-{next(self._ids)}",
            uid="local",
            title=title,
            created_at_ms=at_ms,
            last_active_at_ms=at_ms,
        )
        self.sessions[session.id] = session
        self.turns[session.id] = list(turns)
        for turn in turns:
            if turn.state not in TERMINAL_STATES:
                self.streams[turn.id] = Stream(session.id)
        return session

    def add_entry(self, question: str, answer: str, **fields: Any) -> Entry:  # Any: record fields
        entry = entry_of(f"e-{next(self._ids)}", question, answer, **fields)
        self.entries[entry.id] = entry
        return entry

    def tell_inbox(self, name: str, news: msgspec.Struct) -> None:
        """Appends an event to the inbox's stream, and a message to the inbox."""

        async def append() -> None:
            stream = self.inbox_stream
            if isinstance(news, InboxMessage) and self.inbox is not None:
                self.inbox = {news.id: news, **self.inbox}
            stream.events.append((f"{len(stream.events) + 1}-0", name, msgspec.json.encode(news)))
            stream.grew.set()

        self.call(append())

    def add_stream(self, request_id: str) -> None:
        """A request that nobody sent: its events can be emitted and followed."""
        self.streams[request_id] = Stream("")

    def tell_import(self, job: ImportJob) -> None:
        """Appends how far an import is to its stream, which `add_stream` made."""

        async def append() -> None:
            stream, name = self.streams[job.id], "done" if job.state == "done" else "progress"
            stream.events.append((f"{len(stream.events) + 1}", name, msgspec.json.encode(job)))
            stream.grew.set()

        self.call(append())

    def calls(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def last_request_id(self) -> str:
        return list(self.streams)[-1]

    # --- the event stream -------------------------------------------------------------------

    async def stream(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        of_inbox = asked.path.endswith("/inbox/events")
        stream = self.inbox_stream if of_inbox else self.streams[asked.path.split("/")[-2]]
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        )
        last = "" if self.forgets_last_id else asked.headers.get("last-event-id", "")
        sent = next((n for n, event in enumerate(stream.events, 1) if event[0] == last), 0)
        if of_inbox:
            unread = msgspec.json.encode(Unread(unread=self._unread()))
            writer.write(f"id: {last or '0-0'}\nevent: unread\ndata: ".encode() + unread + b"\n\n")
        while True:
            stream.grew.clear()
            if self.has_keep_alive_comments:
                writer.write(b": keep-alive\n\n")
            for event_id, name, data in stream.events[sent:]:
                writer.write(f"id: {event_id}\nevent: {name}\ndata: ".encode() + data + b"\n\n")
                sent += 1
                if name in TERMINAL_STATES:
                    await writer.drain()
                    return
            await writer.drain()
            await stream.grew.wait()

    def _append(self, request_id: str, event: Event) -> None:
        stream = self.streams[request_id]
        name = EVENT_NAMES[type(event)]
        stream.events.append((f"{len(stream.events) + 1}-0", name, msgspec.json.encode(event)))
        turns = self.turns.get(stream.session_id, [])
        for at, turn in enumerate(turns):
            if turn.id == request_id:
                state = name if name in TERMINAL_STATES else "running"
                answer = turn.answer + (event.text if isinstance(event, Delta) else "")
                facts = msgspec.structs.asdict(turn) | {"state": state, "answer": answer}
                turns[at] = Turn(**facts)
        stream.grew.set()

    # --- the contract -----------------------------------------------------------------------

    def answer(self, asked: Asked) -> Reply | None:
        override = self.overrides.get((asked.method, asked.path))
        if override is not None:
            return override
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return problem(401, "unauthorized", "the key is not known")
        parts = asked.path.strip("/").split("/")
        match (asked.method, *parts):
            case ("GET", "readyz"):
                body = {"ready": self.is_ready, "checks": self.checks}
                return Reply(200 if self.is_ready else 503, body)
            case ("GET", "api", "me"):
                return Reply(200, self.me)
            case ("GET", "api", "status"):
                return Reply(200, self.status)
            case (_, "api", "sessions", *rest):
                return self._session(asked, rest)
            case ("GET", "api", "search"):
                return Reply(200, self._search(asked.query["q"]))
            case ("GET", "api", "requests", request_id, "events"):
                return None if request_id in self.streams else _missing("request")
            case ("DELETE", "api", "requests", request_id):
                return self._cancel(request_id)
            case ("POST", "api", "requests", request_id, "feedback"):
                return self._rate(request_id, asked.body)
            case ("GET", "api", "models"):
                return Reply(200, Page(items=tuple(self.models.values())))
            case ("POST", "api", "models", name, "load" | "unload" as deed):
                state = "loading" if deed == "load" else "unloading"
                changed = msgspec.structs.replace(self.models[name], state=state)
                self.models[name] = changed
                return Reply(202, changed)
            case (_, "api", "setup", *rest) if self.setup is not None:
                return self._set_up(self.setup, asked, rest)
            case ("GET", "api", "logs"):
                return Reply(200, self._logs(asked))
            case (_, "api", "users", uid, *rest):
                return self._user(asked, uid, rest)
            case (_, "api", "settings"):
                return self._setting(asked)
            case (_, "api", "keys", *rest):
                return self._key(asked, rest)
            case (_, "api", "faq", *rest):
                return self._faq(asked, rest)
            case _:
                return problem(404, "not_found", f"no route {asked.path}")

    def _set_up(self, now: SetupStatus, asked: Asked, rest: list[str]) -> Reply:
        """A download arrives as the test says; another model is in use when it says so."""
        replace = msgspec.structs.replace
        match (asked.method, *rest):
            case ("GET",):
                return Reply(200, replace(now, entries=len(self.entries)))
            case ("PUT",):
                put = msgspec.json.decode(asked.body, type=SetupPut)
                if put.done is not msgspec.UNSET:
                    now = replace(now, done=put.done)
                if put.language is not msgspec.UNSET:
                    now = replace(now, language=put.language)
                if put.chat is not msgspec.UNSET and now.lacking:
                    models = [replace(one, chosen=one.name == put.chat) for one in now.models]
                    coming = DownloadStatus(name=put.chat, state="running", total_bytes=GB)
                    now = replace(
                        now, chat=put.chat, models=tuple(models), settled=True, download=coming
                    )
                elif put.chat is not msgspec.UNSET:
                    now = replace(now, restarting=True)
                self.setup = now
                return Reply(200, now)
            case ("POST", "download"):
                name = msgspec.json.decode(asked.body, type=DownloadPost).name
                size = next(one.size_bytes for one in now.models if one.name == name)
                done = replace(now.download, name=name, state="running", total_bytes=size)
                self.setup = replace(now, download=done)
                return Reply(202, done)
            case ("POST", "download", "pause"):
                done = replace(now.download, state="paused")
                self.setup = replace(now, download=done)
                return Reply(202, done)
            case _:
                return _missing("route")

    def _session(self, asked: Asked, rest: list[str]) -> Reply:
        match (asked.method, *rest):
            case ("GET",):
                found = sorted(self.sessions.values(), key=lambda s: -s.last_active_at_ms)
                return Reply(200, self._page(asked, found))
            case ("POST",):
                post = msgspec.json.decode(asked.body, type=SessionPost)
                return Reply(201, self.add_session(post.title))
            case (_, session_id, *_) if session_id not in self.sessions:
                return _missing("session")
            case ("GET", session_id):
                return Reply(200, self.sessions[session_id])
            case ("PATCH", session_id):
                patch = msgspec.json.decode(asked.body, type=SessionPatch)
                renamed = msgspec.structs.replace(self.sessions[session_id], title=patch.title)
                self.sessions[session_id] = renamed
                return Reply(200, renamed)
            case ("DELETE", session_id):
                del self.sessions[session_id]
                return Reply(204)
            case ("GET", session_id, "turns"):
                return Reply(200, self._turns(asked, self.turns[session_id]))
            case ("POST", session_id, "warm"):
                self.warmed.append(session_id)
                return Reply(202)
            case ("POST", session_id, "branch"):
                return self._branch(session_id, asked.body)
            case ("POST", session_id, "messages"):
                return self._message(session_id, asked.body)
            case _:
                return _missing("route")

    def _search(self, wanted: str) -> Hits:
        found: list[Hit] = []
        words = wanted.casefold().split()
        for session in sorted(self.sessions.values(), key=lambda one: -one.last_active_at_ms):
            texts: list[tuple[str, str, str]] = [("title", "", session.title)]
            for turn in reversed(self.turns[session.id]):
                texts += [("answer", turn.id, turn.answer), ("question", turn.id, turn.question)]
            found += [
                Hit(
                    session_id=session.id,
                    title=session.title,
                    place=place,  # type: ignore[arg-type]  # one of the places
                    excerpt=" ".join(text.split()),
                    at_ms=session.last_active_at_ms,
                    turn_id=turn_id,
                )
                for place, turn_id, text in texts
                if all(word in text.casefold() for word in words)
            ]
        return Hits(items=tuple(found), complete=True)

    def _branch(self, session_id: str, body: bytes) -> Reply:
        post = msgspec.json.decode(body, type=BranchPost)
        turns = self.turns[session_id]
        at = next((n for n, turn in enumerate(turns) if turn.id == post.turn_id), None)
        if at is None:
            return _missing("turn")
        copies = [msgspec.structs.replace(one, id=f"{one.id}-b") for one in turns[: at + 1]]
        return Reply(201, self.add_session(post.title, *copies))

    def _turns(self, asked: Asked, turns: list[Turn]) -> Page:
        limit = min(int(asked.query.get("limit", "50")), self.page_limit)
        end = int(asked.query.get("cursor", str(len(turns))))
        start = max(0, end - limit)
        return Page(items=tuple(turns[start:end]), cursor=str(start) if start else None)

    def _message(self, session_id: str, body: bytes) -> Reply:
        post = msgspec.json.decode(body, type=MessagePost)
        request_id = f"r-{next(self._ids)}"
        self.streams[request_id] = Stream(session_id)
        self.turns[session_id].append(
            Turn(id=request_id, created_at_ms=NOW_MS, question=post.text, state="waiting")
        )
        for event in self.script:
            self._append(request_id, event)
        accepted = Accepted(
            id=request_id,
            request_id=request_id,
            session_id=session_id,
            events=f"/api/requests/{request_id}/events",
        )
        return Reply(202, accepted)

    def _cancel(self, request_id: str) -> Reply:
        stream = self.streams.get(request_id)
        if stream is None:
            return _missing("request")
        if stream.events and stream.events[-1][1] in TERMINAL_STATES:
            return problem(409, "conflict", "the request has ended")
        status = RequestStatus(
            id=request_id,
            session_id=stream.session_id,
            state="running",
            attempt=1,
            created_at_ms=NOW_MS,
        )
        return Reply(202, status)

    def _rate(self, request_id: str, body: bytes) -> Reply:
        thumb = msgspec.json.decode(body, type=FeedbackPost).thumb
        for turns in self.turns.values():
            for at, turn in enumerate(turns):
                if turn.id == request_id and turn.state not in TERMINAL_STATES:
                    return problem(409, "conflict", "the request has not ended")
                if turn.id == request_id:
                    turns[at] = msgspec.structs.replace(turn, thumb=thumb)
                    return Reply(204)
        return _missing("answer")

    def _logs(self, asked: Asked) -> LogPage:
        levels = ("debug", "info", "warning", "error")
        least = levels.index(asked.query["level"])
        found = [
            line
            for line in self.log
            if levels.index(line.level) >= least
            and asked.query.get("q", "") in line.message
            and line.number > int(asked.query["after"])
        ]
        last = self.log[-1].number if self.log else 0
        return LogPage(items=tuple(found), last=last)

    def _user(self, asked: Asked, uid: str, rest: list[str]) -> Reply | None:
        user = self.users.get(uid, User(id=uid, attributes={}, tags=(), version=0))
        match (asked.method, *rest):
            case ("GET",):
                return Reply(200, user)
            case ("PUT" | "DELETE" as method, "tags", tag):
                name = unquote(tag)
                others = tuple(one for one in user.tags if one != name)
                tags = (*others, name) if method == "PUT" else others
                self.users[uid] = msgspec.structs.replace(user, tags=tags)
                return Reply(200, self.users[uid])
            case ("GET", "quota"):
                plain = Quota(
                    uid=uid, tier="standard", priority="person", weight=1, concurrency=0, limits=()
                )
                return Reply(200, self.quotas.get(uid, plain))
            case ("GET", "inbox") if self.inbox is not None:
                messages = tuple(self.inbox.values())
                return Reply(200, InboxPage(items=messages, unread=self._unread()))
            case ("GET", "inbox", "events") if self.inbox is not None:
                return None
            case ("GET", "inbox", "scheduled"):
                return Reply(200, Page(items=tuple(self.scheduled.values())))
            case ("DELETE", "inbox", "scheduled", name) if name in self.scheduled:
                del self.scheduled[name]
                return Reply(204)
            case ("POST", "inbox"):
                return self._written(msgspec.json.decode(asked.body, type=InboxPost))
            case ("POST", "inbox", "ack") if self.inbox is not None:
                body = msgspec.json.decode(asked.body)
                for one in self.inbox if body["all"] else body["ids"]:
                    self.inbox[one] = msgspec.structs.replace(self.inbox[one], read=True)
                return Reply(200, Unread(unread=self._unread()))
            case _:
                return _missing("route")

    def _written(self, post: InboxPost) -> Reply:
        """One that names a time waits for it."""
        name = f"m-{next(self._ids)}"
        at_ms = post.deliver_at_ms
        if at_ms is not None:
            self.scheduled[name] = scheduled(name, post.text, at_ms, urgent=post.urgent)
        accepted = InboxAccepted(
            id=name,
            state="delivered" if at_ms is None else "scheduled",
            deliver_at_ms=at_ms or NOW_MS,
            expires_at_ms=2 * NOW_MS,
            reason="" if at_ms is None else "asked",
        )
        return Reply(201 if at_ms is None else 202, accepted)

    def _setting(self, asked: Asked) -> Reply:
        """A file whose settings are `settings`; a value with "wrong" in it is refused."""
        version = str(self.settings_version)
        if asked.headers.get("if-match", f'"{version}"') != f'"{version}"':
            return problem(409, "conflict", "changed since", reason="edited_since")
        items = dict(self.settings)
        if asked.method == "PATCH":
            for key, value in msgspec.json.decode(asked.body)["changes"].items():
                if value is not None and "wrong" in value:
                    facts = {"key": key, "wanted": "`int` >= 0"}
                    said = f"{value} is no {key}"
                    hint = "write another"
                    return problem(
                        400, "invalid", said, hint=hint, reason="bad_setting", facts=facts
                    )
                now = items[key].default if value is None else value
                is_set = value is not None
                items[key] = msgspec.structs.replace(items[key], value=now, is_set=is_set)
            if "dry_run" not in asked.query:
                self.settings_version += 1
                self.settings = items
        waiting = tuple(key for key, one in items.items() if one.value != one.in_use)
        page = SettingsPage(
            file="/data/sluice/settings.toml",
            version=str(self.settings_version),
            items=tuple(items.values()),
            waiting=waiting,
        )
        return Reply(200, page)

    def _key(self, asked: Asked, rest: list[str]) -> Reply:
        match (asked.method, *rest):
            case ("GET",):
                return Reply(200, Page(items=tuple(self.keys.values())))
            case ("POST",):
                post = msgspec.json.decode(asked.body, type=ApiKeyPost)
                uid, number = post.uid or "", next(self._ids)
                one = ApiKey(
                    id=f"k-{number}",
                    role=post.role,
                    name=post.name,
                    uid=uid,
                    created_at_ms=NOW_MS,
                    expires_at_ms=NOW_MS + int(post.days * 86_400_000) if post.days else 0,
                )
                self.keys[one.id] = one
                secret = f"sk-sluice-{number}" + "x" * 43
                return Reply(201, NewApiKey(key=secret, **msgspec.structs.asdict(one)))
            case ("DELETE", key_id) if key_id in self.keys:
                del self.keys[key_id]
                return Reply(204)
            case _:
                return _missing("key")

    def _unread(self) -> int:
        return sum(not message.read for message in (self.inbox or {}).values())

    def _faq(self, asked: Asked, rest: list[str]) -> Reply | None:
        curated = self.curation.answer(asked, rest, self.entries)
        if curated is not None:
            return curated
        match (asked.method, *rest):
            case ("GET",):
                found = list(filter(partial(_fits, asked), self.entries.values()))
                return Reply(200, self._page(asked, found))
            case ("POST",):
                put = msgspec.json.decode(asked.body, type=EntryPut)
                return Reply(201, self._store(f"e-{next(self._ids)}", put))
            case ("GET", "imports", import_id, "events") if import_id in self.streams:
                return None
            case ("GET", "search"):
                return Reply(200, Page(items=tuple(filter(partial(_fits, asked), self.matches))))
            case ("GET", "categories"):
                return Reply(200, labels_of(self.entries.values()))
            case ("POST", "test") if self.outcome is not None:
                return Reply(200, self.outcome)
            case ("POST", "import"):
                entry = entry_of("e-imported", asked.body.decode().strip(), "Imported.")
                self.entries[entry.id] = entry
                return Reply(200, ImportReport(created=1, updated=0, unchanged=0))
            case ("POST", "demo"):
                self.entries |= {entry.id: entry for entry in self.demo}
                report = ImportReport(created=len(self.demo), updated=0, unchanged=0)
                return Reply(200, report)
            case (_, entry_id) if entry_id not in self.entries:
                return _missing("entry")
            case ("GET", entry_id):
                return Reply(200, self.entries[entry_id])
            case ("PUT", entry_id):
                version = self.entries[entry_id].version
                if asked.headers.get("if-match", f'"{version}"') != f'"{version}"':
                    return problem(409, "conflict", "edited since", reason="edited_since")
                put = msgspec.json.decode(asked.body, type=EntryPut)
                return Reply(200, self._store(entry_id, put, version + 1))
            case ("DELETE", entry_id):
                del self.entries[entry_id]
                return Reply(204)
            case _:
                return _missing("route")

    def _store(self, entry_id: str, put: EntryPut, version: int = 1) -> Entry:
        fields = msgspec.structs.asdict(put) | {"version": version}
        self.entries[entry_id] = entry_of(entry_id, **fields)
        return self.entries[entry_id]

    def _page(self, asked: Asked, found: list[Any]) -> Page:  # Any: records of any kind
        start = int(asked.query.get("cursor", "0"))
        end = start + min(int(asked.query.get("limit", "50")), self.page_limit)
        return Page(items=tuple(found[start:end]), cursor=str(end) if end < len(found) else None)


def entry_of(entry_id: str, question: str, answer: str, **fields: Any) -> Entry:  # Any: as above
    known: dict[str, Any] = {
        "phrasings": (),
        "category": "",
        "language": "en",
        "state": "published",
        "version": 1,
        "created_at_ms": NOW_MS,
        "updated_at_ms": NOW_MS,
    }
    return Entry(id=entry_id, question=question, answer=answer, **(known | fields))


def empty_status() -> Status:
    return Status(
        version="0.1.0",
        uptime_s=0,
        ready=True,
        children=(),
        workers=(),
        queue=QueueStatus(waiting=0, running=0, capacity=4, bound=64),
        faq=FaqStatus(entries=0, phrasings=0, indexed=True, detail=""),
        sessions_following=0,
    )


GB = 1_000_000_000


def scheduled(
    message_id: str, text: str, deliver_at_ms: int, *, urgent: bool = False
) -> ScheduledMessage:
    """A message that waits."""
    return ScheduledMessage(
        id=message_id,
        text=text,
        sender="operator",
        sent_at_ms=NOW_MS,
        expires_at_ms=2 * NOW_MS,
        deliver_at_ms=deliver_at_ms,
        urgent=urgent,
    )


def setup_now(api: StubApi, **changes: object) -> None:
    """What the server says of its set-up from now on."""
    assert api.setup is not None
    api.setup = msgspec.structs.replace(api.setup, **changes)


def setup_put(api: StubApi) -> list[SetupPut]:
    """What it was told of it."""
    calls = api.calls("PUT", "/api/setup")
    return [msgspec.json.decode(asked.body, type=SetupPut) for asked in calls]


def setup_status(*, done: bool = True) -> SetupStatus:
    """A machine with a starter in use, a model that fits and two that do not."""

    def model(name: str, size_gb: float, **facts: Any) -> SetupModel:  # Any: record fields
        known: dict[str, Any] = {
            "state": "absent",
            "size_bytes": int(size_gb * GB),
            "here_bytes": 0,
            "memory_bytes": int((size_gb + 1.2) * GB),
            "tokens_per_s": 30 / size_gb,
            "first_word_s": 3.2 * size_gb,
            "obstacle": "",
            "starter": False,
            "chosen": False,
            "recommended": False,
            "licence": "Apache-2.0",
            "notes": {"en": f"{name} in English.", "zh": f"{name} 的说明。"},
        }
        return SetupModel(name=name, **(known | facts))

    return SetupStatus(
        done=done,
        language="",
        chat="starter-0.5b",
        restarting=False,
        trouble="",
        fixed="",
        entries=0,
        key_file="/data/sluice/admin.key",
        machine=SetupMachine(
            memory_bytes=16 * GB,
            free_bytes=11 * GB,
            cores=8,
            gpus=(),
            disk_free_bytes=5 * GB,
        ),
        models=(
            model("starter-0.5b", 0.5, state="here", here_bytes=GB // 2, starter=True, chosen=True),
            model("fitting-4b", 2.5, recommended=True),
            model("big-8b", 5.0, obstacle="disk"),
            model("huge-30b", 18.6, obstacle="memory", tokens_per_s=None, first_word_s=None),
        ),
        download=DownloadStatus(),
    )


def labels_of(entries: Iterable[Entry]) -> Labels:
    found = tuple(entries)
    return Labels(
        categories=tuple(sorted({one.category for one in found})),
        languages=tuple(sorted({one.language for one in found})),
    )


def _fits(asked: Asked, one: Entry | Match) -> bool:
    return (
        asked.query.get("category", one.category) == one.category
        and asked.query.get("language", one.language) == one.language
    )


def _missing(what: str) -> Reply:
    return problem(404, "not_found", f"there is no such {what}")
