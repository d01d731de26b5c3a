"""The ten steps of a request, in order. Read `Flow._answer` beside this list.

 1. A request reaches access, which stores it with its first event.         `accept`
 2. Access hands it to the limiter and waits on the request's own stream.   `_ask_limiter`
    Before that its model is loaded, if it is not.                          `_loading`
 3. The limiter's verdict comes back on that stream.                        `_admitted`
 4. Profile, tags and history are read.                                     `_answer_with_model`
 5. The closest FAQ entries are retrieved.                                  `_answer_with_model`
    What they answer alone ends here, or before step 2.                     `answering`
 6. The finished prompt goes into a work stream.                            `placing`
 7. An idle worker takes it.                                                `worker.serve`
 8. The worker writes its answer into the request's reply stream.           `worker.serve`
 9. Access follows the reply stream.                                        `follow`
10. The person reads it as it is made, on any device.                       `follow`
    What nobody wants any more ends at once.                                `cancelling`

Every step can be repeated: a step finds what it did before and changes nothing. So when Valkey
was away, or this process was killed, the walk simply starts again from the request's record
(`_recover`), and each accepted request still ends exactly once.
"""

import asyncio
import contextlib
import datetime
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from appliance import keys
from appliance.access.answering import Answering, Question
from appliance.access.cancelling import Cancelling, unknown
from appliance.access.earlier import Earlier, EarlierTurns
from appliance.access.forecast import Forecasts
from appliance.access.generations import Gates, generation_of
from appliance.access.placing import Placing
from appliance.access.presence import Presence
from appliance.access.profile import Profiles
from appliance.access.prompt import Prompt, session_prompt, stateless_prompt
from appliance.bus import scripts, work
from appliance.bus.client import AWAY, Bus
from appliance.bus.notices import Notice, arrive, notify
from appliance.bus.outage import RETRY_S, until_back
from appliance.bus.replies import ReplyReader, StreamEvent, parse_id
from appliance.clock import now_ms
from appliance.errors import Invalid, NotFound, Overloaded, SluiceError, Unavailable
from appliance.fleet.loader import Loader
from appliance.fleet.provision import Provision
from appliance.fleet.record import Wish
from appliance.knowledge.questions import Questions
from appliance.knowledge.retrieval import NOT_EMBEDDED, Retrieval
from appliance.people.sessions import Sessions
from appliance.people.turns import Asked, Sent, Turns
from appliance.people.users import Users
from appliance.schema.answers import Match
from appliance.schema.conversations import Session
from appliance.schema.events import Admitted, Event, Failed, Loading, Received, Refused
from appliance.schema.requests import TERMINAL_STATES, ChatMessage, Request, RequestStatus, Work
from appliance.settings import Settings
from appliance.settings.limiter import Generation

log = logging.getLogger(__name__)

RECOVER_ENTRIES = 20_000
REFUSED_RETRY_S = 10.0


@dataclass(frozen=True)
class People:
    """What access reads about the person."""

    users: Users
    sessions: Sessions
    turns: Turns


class Flow:
    """Carries requests through the steps. `run` owns one task per request not handed over yet."""

    def __init__(
        self,
        bus: Bus,
        replies: ReplyReader,
        people: People,
        retrieval: Retrieval,
        loader: Loader,
        *,
        answering: Answering,
        cancelling: Cancelling,
        earlier: EarlierTurns,
        forecasts: Forecasts,
        gates: Gates,
        presence: Presence,
        placing: Placing,
        profiles: Profiles,
        questions: Questions,
        settings: Settings,
        provision: Provision | None = None,
    ) -> None:
        self._bus = bus
        self._replies = replies
        self._people = people
        self._retrieval = retrieval
        self._answering = answering
        self._cancelling = cancelling
        self._earlier = earlier
        self._forecasts = forecasts
        self._gates = gates
        self._presence = presence
        self._placing = placing
        self._profiles = profiles
        self._questions = questions
        self._settings = settings
        self._loader = loader
        self._provision = provision
        self._tasks: asyncio.TaskGroup | None = None
        self._accepting = True
        self._ended: Callable[[Request, StreamEvent | None], None] = lambda request, last: None
        self._walking: set[str] = set()  # requests in steps 2 to 6
        self._seen_through: set[str] = set()

    async def run(self) -> None:
        """Owns the walks until cancelled; first takes up those a crash interrupted."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await self._recover()
            await asyncio.Event().wait()

    def on_ended(self, listen: Callable[[Request, StreamEvent | None], None]) -> None:
        """Who is told of each request of this process once it has ended, with its last event."""
        self._ended = listen

    def stop_accepting(self) -> None:
        """From now on new requests are refused; those accepted go on."""
        self._accepting = False

    # -- step 1

    async def accept(self, request: Request, session: Session | None = None) -> None:
        """Stores the request and starts its walk; on return it is certain to end exactly once.

        Raises Overloaded at the bound of open requests, Unavailable while stopping and without a
        model that is on its way, NotFound when the session was deleted in the meantime.
        """
        if self._tasks is None or not self._accepting:
            raise Unavailable(
                "the appliance is starting or stopping",
                hint="try again in a moment",
                reason="starting",
            )
        # A question of a session may wait for a model; a caller's own connection ends before it.
        if self._provision is not None and (session is None or not self._provision.is_fetching):
            raise self._provision.refusal()
        limits = self._settings.limiter
        if await self._bus.zcard(keys.OPEN) >= 2 * limits.queue_bound + 1024:
            raise Overloaded(
                "too many requests are open",
                hint="try again later",
                reason="queue_full",
                retry_after_s=10.0,
            )
        question = Asked(text=request.text, created_at_ms=request.created_at_ms)
        received = Received(
            request_id=request.id,
            session_id=request.session_id,
            created_at_ms=request.created_at_ms,
        )
        await self._bus.zadd(keys.OPEN, {request.id: request.created_at_ms})
        try:
            stored = await scripts.submit(
                self._bus,
                request,
                received,
                turns_kept=self._settings.sessions.turns_kept,
                question=msgspec.json.encode(question) if session else b"",
            )
        except AWAY:  # it may be stored for all that, and nobody would walk it
            self.abandon(request.id)
            raise
        if stored < 0:
            raise NotFound(
                f"no session {request.session_id}", hint="create a new one", reason="no_session"
            )
        self._tasks.create_task(self._walk(request), name=f"walk {request.id}")
        if session:
            with contextlib.suppress(*AWAY):  # it is accepted for all that
                await self._people.sessions.touch(session, request.created_at_ms)

    # -- steps 2 to 6

    async def _answer(self, request: Request) -> None:
        await self._presence.expect(request)
        question = self._question(request)
        if question is not None and await self._ended_at_once(request, question):
            return
        async with self._loading(request) as loaded:
            if loaded:
                await self._answer_with_model(request, question)

    def _question(self, request: Request) -> Question | None:
        """Its vector is made once, for the forecast and for retrieval."""
        if not request.faq or self._tasks is None:
            return None
        embedding = self._retrieval.embedded(request.text)
        return Question(self._tasks.create_task(embedding, name=f"embed {request.id}"))

    async def _ended_at_once(self, request: Request, question: Question) -> bool:
        """Whether the FAQ answers alone what is known by now. A busy embedding model holds up
        neither this nor admission for long."""
        if await self._answering.to_the_letter(request):
            return True
        await asyncio.wait([question.embedding], timeout=self._settings.limiter.embed_timeout_s)
        return await self._answering.by_meaning(request, question)

    @contextlib.asynccontextmanager
    async def _loading(self, request: Request) -> AsyncIterator[bool]:
        """Keeps the model loaded while inside; False when the request was cancelled before."""
        wish = Wish(
            request_id=request.id,
            uid=request.uid,
            model=request.model,
            deadline_s=time.monotonic() + (request.deadline_at_ms - now_ms()) / 1000,
        )

        async def told(percent: int) -> None:
            event = Loading(model=request.model, percent=percent)
            await self._tell(request, event, states=("loading", "waiting"), new_state="loading")

        async with self._loader.held(wish, told) as loaded:
            if loaded and request.model:  # a walk that was cut off may have left it loading
                event = Loading(model=request.model, percent=100)
                await self._tell(request, event, states=("loading",), new_state="waiting")
            yield loaded

    async def _answer_with_model(self, request: Request, question: Question | None) -> None:
        await self._ask_limiter(request, question)  # 2
        if not await self._admitted(request):  # 3
            return
        admitted_at_ms = now_ms()
        system = await self._profiles.system(request.uid, request.session_id)  # 4
        earlier = await self._earlier.of(request.session_id, but=request.id)
        found = await self._answering.found(request, question)  # 5
        embedded = NOT_EMBEDDED if question is None else question.embedded
        if await self._answering.ended(request, found, embedded):
            return
        prompt = self._prompt(request, system, earlier, found.matches)
        sent = Sent(text=prompt.sent, matches=found.matches, left_out=earlier.left_out)
        ready = Work(
            request_id=request.id,
            uid=request.uid,
            session_id=request.session_id,
            messages=prompt.messages,
            cut_turns=prompt.cut_turns,
            sampling=request.sampling,
            created_at_ms=request.created_at_ms,
            admitted_at_ms=admitted_at_ms,
            deadline_at_ms=request.deadline_at_ms,
            decision=found.decision,
            entries=tuple(match.id for match in found.matches),
        )
        if await scripts.retrieved(self._bus, request.id, found, msgspec.json.encode(sent)):
            await self._placing.hand_over(ready, keys.pool(request.model))  # 6

    async def _ask_limiter(self, request: Request, question: Question | None) -> None:
        """Tells what the request will need, by its vector if that is there."""
        embedded = NOT_EMBEDDED if question is None else question.embedded
        asked = await self._forecasts.asked(request, embedded)
        generation = generation_of(self._settings.limiter, request, asked.tier)
        if generation != "service":
            await self._pass_gate(request, generation, asked.tier)
            return
        await arrive(
            self._bus,
            Notice(
                kind="arrived",
                request_id=request.id,
                uid=request.uid,
                pool=keys.pool(request.model),
                deadline_at_ms=request.deadline_at_ms,
                asked=asked,
            ),
        )

    async def _pass_gate(self, request: Request, generation: Generation, tier: str) -> None:
        """Window or bucket decides instead of the limiter, once for each request."""
        if await self._bus.hget(keys.request(request.id), "state") != b"waiting":
            return
        verdict: Admitted | Refused | None
        if generation == "window":
            verdict = await self._gates.window(request, tier)
        else:
            verdict = await self._gates.bucket(request, tier, lambda: self._admitted(request))
        if isinstance(verdict, Refused):
            await self._end(request, verdict)
        elif verdict is not None:
            told = await self._tell(request, verdict, states=("waiting",), new_state="queued")
            if not told and generation == "bucket":  # cancelled as it was let in
                await self._gates.give_back(tier)

    async def _admitted(self, request: Request) -> bool:
        """Waits for the verdict on the request's own stream; False when it ended instead."""
        async with contextlib.aclosing(self._replies.follow(request.id)) as events:
            async for event in events:
                if event.event == "admitted":
                    return True
        return False

    def _prompt(
        self, request: Request, system: ChatMessage, earlier: Earlier, matches: tuple[Match, ...]
    ) -> Prompt:
        today = datetime.datetime.now(tz=datetime.UTC).astimezone().date()
        if not request.session_id:
            return stateless_prompt(system, request.messages, matches, today=today)
        return session_prompt(
            system,
            earlier.turns,
            request.text,
            matches,
            today=today,
            cut_turns=earlier.cut_turns,
        )

    async def _tell(
        self, request: Request, event: Event, *, states: tuple[str, ...], new_state: str
    ) -> bool:
        """Whether it was in one of these states."""
        for state in states:
            if await scripts.tell(
                self._bus, request.id, event, while_state=state, new_state=new_state
            ):
                return True
        return False

    # -- steps 9 and 10

    async def follow(
        self, request_id: str, after: str = "0-0"
    ) -> AsyncGenerator[StreamEvent, None]:
        """Every event after the id `after`, to the terminal one; close it when done.

        Raises NotFound for an unknown request, Invalid for an id no event of it has had.
        """
        status = await self.status(request_id)
        if parse_id(after) > parse_id(await self._replies.last_id(request_id)):
            raise Invalid(
                "Last-Event-ID is not one of ours", hint="leave it out", reason="bad_event_id"
            )
        # The state is terminal no earlier than the last event is there, so a replay is whole.
        read = self._replies.replay if status.state in TERMINAL_STATES else self._replies.follow
        return read(request_id, after)

    def follow_accepted(self, request: Request) -> AsyncGenerator[StreamEvent, None]:
        """Every event of a request that was accepted just now; close it when done."""
        return self._replies.follow(request.id)

    async def status(self, request_id: str) -> RequestStatus:
        fields = await self._bus.hgetall(keys.request(request_id))
        if not fields:
            raise unknown(request_id)
        request = msgspec.json.decode(fields[b"body"], type=Request)
        return msgspec.convert(
            {
                "id": request_id,
                "session_id": request.session_id,
                "state": fields[b"state"].decode(),
                "attempt": int(fields[b"attempt"]),
                "created_at_ms": request.created_at_ms,
            },
            RequestStatus,
        )

    def abandon(self, request_id: str) -> None:
        """Cancels in the background what nobody reads any more."""
        if self._tasks is not None:
            cancel = self._cancelling.abandon(request_id)
            self._tasks.create_task(cancel, name=f"abandon {request_id}")

    # -- a walk, its faults and its recovery

    async def _walk(self, request: Request, *, handed_over: bool = False) -> None:
        """Steps 2 to 6, once at a time, and then what the answer teaches."""
        walks = self._seen_through if handed_over else self._walking
        if request.id in walks:
            return
        walks.add(request.id)
        try:
            await self._walk_to_worker(request, handed_over=handed_over)
        finally:
            walks.discard(request.id)
        await self._learn(request)

    async def _walk_to_worker(self, request: Request, *, handed_over: bool) -> None:
        """Again from the start while the store is away; a fault ends the request."""
        while True:
            try:
                await (self._see_through(request) if handed_over else self._answer(request))
            except AWAY as error:
                log.debug("request %s: store away (%s), trying again", request.id, error)
                await asyncio.sleep(RETRY_S)
                continue
            except (Overloaded, Unavailable) as error:  # its model cannot be had
                await self._end(request, _refused(error))
            except Exception as error:
                log.exception("request %s failed before it reached a worker", request.id)
                await self._fail(request, error)
            return

    async def _see_through(self, request: Request) -> None:
        """Keeps the model of work that lies ready for it: nobody else knows that it is wanted."""
        async with (
            self._loading(request),
            contextlib.aclosing(self._replies.follow(request.id)) as events,
        ):
            async for _ in events:
                pass

    async def _learn(self, request: Request) -> None:
        """Follows the answer to its end: how long answers are, and what the FAQ lacks."""
        last: StreamEvent | None = None
        with contextlib.suppress(*AWAY):  # then it teaches nothing
            async with contextlib.aclosing(self._replies.follow(request.id)) as events:
                async for event in events:
                    last = event
                    if event.event == "retrieved":
                        self._questions.retrieved(request, event.data)
        self._forecasts.ended(request.id, last)
        self._ended(request, last)

    async def _fail(self, request: Request, error: Exception) -> None:
        known = error if isinstance(error, SluiceError) else None
        event = Failed(
            code=known.code if known else "internal",
            reason=(known.reason if known else "") or "internal",
            message=known.message if known else "something went wrong before the model was asked",
            hint=known.hint if known else "ask again; the log has the details",
        )
        await self._end(request, event)

    async def _end(self, request: Request, event: Event) -> None:
        async def ending() -> None:
            await scripts.end(
                self._bus, request.id, event, ttl_s=self._settings.requests.reply_ttl_s
            )
            await notify(self._bus, Notice(kind="ended", request_id=request.id))

        await until_back(ending)

    async def _recover(self) -> None:
        """Takes up requests which an earlier life of this process had accepted."""
        found = await self._bus.zrangebyscore(
            keys.OPEN, "-inf", "+inf", start=0, num=RECOVER_ENTRIES
        )
        for raw in found:
            await self._take_up(raw.decode())

    async def _take_up(self, request_id: str) -> None:
        """Starts the walk of a request again, however long the store is away."""
        await until_back(partial(self._walk_again, request_id))

    async def _walk_again(self, request_id: str) -> None:
        """Not while its work lies ready for a worker or one has it: then only its model is kept,
        in case that one is gone."""
        fields = await self._bus.hgetall(keys.request(request_id))
        state = fields.get(b"state", b"").decode()
        if state not in ("waiting", "loading", "queued", "running") or self._tasks is None:
            return
        request = msgspec.json.decode(fields[b"body"], type=Request)
        handed = fields.get(b"handed", b"").decode()
        pool = keys.pool(request.model)
        if state == "running" or await work.entry(self._bus, pool, handed):
            if not request.model:
                return  # it goes on with the very prompt it began with
            walk = self._walk(request, handed_over=True)
        else:
            walk = self._walk(request)
        self._tasks.create_task(walk, name=f"walk {request_id}")

    def take_up(self, request_id: str) -> None:
        """Walks a queued request again whose work got lost."""
        if self._tasks is not None:
            self._tasks.create_task(self._take_up(request_id), name=f"take up {request_id}")


def _refused(error: SluiceError) -> Refused:
    return Refused(
        reason=error.reason,
        message=error.message,
        retry_after_s=error.retry_after_s or REFUSED_RETRY_S,
    )


def deadline_at_ms(settings: Settings, deadline_s: float | None) -> int:
    """Wall-clock deadline of a request accepted now; a caller may only shorten the default."""
    bound_s = settings.requests.deadline_s
    return int(1000 * (time.time() + min(bound_s, deadline_s or bound_s)))
