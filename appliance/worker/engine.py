"""The engine thread: many answers at once from one model.

The loop receives (and blocks only when idle), schedules, computes a step, embeds and emits.
Prompts are made on a thread beside it (`preparation`). One thread owns the backend, the scheduler
(`schedule`), the open requests (`requests`) and what a step is (`stepper`); other threads only
put messages into its mailbox. What a step brought is emitted once, after the step, in one list;
what the receiver does with it happens on another thread.

A model that is broken makes the engine give up and say so. The engine refuses work beyond its
bounds at the door and never drops work it took.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import Invalid, Overloaded
from appliance.worker.archive import Archive, Found
from appliance.worker.backend import Backend
from appliance.worker.embedding import EmbeddingQueue
from appliance.worker.gauge import Gauge
from appliance.worker.jobs import (
    EmbedJob,
    Generation,
    Output,
)
from appliance.worker.keeper import IDLE_S, Keeper
from appliance.worker.preparation import Preparation, Ready, Unfit
from appliance.worker.prompts import PromptMaker
from appliance.worker.requests import OpenRequests
from appliance.worker.schedule import Scheduler
from appliance.worker.stepper import Stepper

log = logging.getLogger(__name__)

PREPARING_AT_MOST_S = 1.0  # an engine without other work looks up this often while it waits
WARM_SESSIONS_TOLD = 64
ONE_TEXT = 1  # token for embeddings: a text is never cut, so it is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of one engine besides its backend's shape."""

    requests: int = 256  # generations open at once, waiting ones included
    embed_jobs: int = 256  # embedding jobs open at once
    embed_texts: int = 4096  # texts in one embedding job
    embed_step_tokens: int = 128  # embedding tokens per step while answers run
    embed_share: float = 0.1  # of the time while answers run, for embeddings in the background
    embed_rest_s: float = 0.25  # without those after a question's, whose search has the CPU
    drafts_per_request: int = 16  # guessed tokens of one request in one step; 0 guesses never
    gap_s: float = 2.0  # between two tokens of an answer while prompts are computed
    kept_pace: float = 0.9  # of the time, for who has asked little; 0 is for nobody


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: str


@dataclass(frozen=True, slots=True)
class _Threads:
    count: int


@dataclass(frozen=True, slots=True)
class _Forget:
    session_id: str


@dataclass(frozen=True, slots=True)
class _ForgetScope:
    scope: str


class _Stop:
    pass


_Work = Generation | Ready | Unfit | Found | EmbedJob | _Cancel | _Forget | _ForgetScope | _Threads
_Message = _Work | _Stop


class Engine:
    """Runs generations and embedding jobs of one backend on a thread of its own.

    `emit` gets the outputs of each step and `on_fatal` the error that ended the engine, both on
    the engine thread. Other threads may call the public methods.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        emit: Callable[[list[Output]], None],
        on_fatal: Callable[[Exception], None],
        bounds: Bounds | None = None,
        archive: Archive | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._emit = emit
        self._on_fatal = on_fatal
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._scheduler = Scheduler(backend.shape, can_share=backend.facts.can_share)
        self._keeper = Keeper(backend, self._scheduler, archive)
        self._embeddings = EmbeddingQueue(backend)
        self._background_at_s = 0.0  # no sooner is anything embedded in the background
        self._hurried = threading.Event()  # somebody came who waits, since messages were taken
        self._gauge = Gauge(clock())
        self._mailbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._preparation = Preparation(PromptMaker(backend), self._bring)
        self._request_places = threading.Semaphore(self._bounds.requests)
        self._embed_places = threading.Semaphore(self._bounds.embed_jobs)
        self._requests = OpenRequests(
            backend,
            self._scheduler,
            self._keeper,
            clock=clock,
            ended=self._request_places.release,
        )
        self._stepper = Stepper(
            backend,
            self._scheduler,
            self._requests,
            self._gauge,
            drafts=self._bounds.drafts_per_request,
            gap_s=self._bounds.gap_s,
            kept_pace=self._bounds.kept_pace,
            clock=clock,
        )
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.status = self._gauge.status()
        self.warm_sessions: tuple[str, ...] = ()  # replaced as a whole, like the status
        self.facts = backend.facts

    def start(self) -> None:
        self._preparation.start()
        self._keeper.start(self._bring)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Take a request. Raises Overloaded when too many are open."""
        if not self._request_places.acquire(blocking=False):
            raise Overloaded("the worker's queue is full", retry_after_s=1.0)
        self._bring(generation)
        self._preparation.put(generation)

    def embed(self, job: EmbedJob) -> None:
        """Take an embedding job. Raises Overloaded, and Invalid when it is empty or too large."""
        if not 1 <= len(job.texts) <= self._bounds.embed_texts:
            raise Invalid(f"an embedding job has 1 to {self._bounds.embed_texts} texts")
        if not self._embed_places.acquire(blocking=False):
            raise Overloaded("the worker's embedding queue is full", retry_after_s=1.0)
        if job.background:
            self._mailbox.put(job)
        else:
            self._bring(job)

    def cancel(self, request_id: str) -> None:
        """End a request at the next step; an unknown or ended one is left alone."""
        self._mailbox.put(_Cancel(request_id))

    def use_threads(self, count: int) -> None:
        """Compute with this many CPU threads from the next step on."""
        self._mailbox.put(_Threads(count))

    def forget(self, session_id: str) -> None:
        """Let nothing of a session stay in the cache or on disk."""
        self._mailbox.put(_Forget(session_id))

    def forget_scope(self, scope: str) -> None:
        """Let nothing of a person stay in the cache, nor in memory what has no session."""
        self._mailbox.put(_ForgetScope(scope))

    def stop(self) -> None:
        """End the thread after the current step. Open requests get no output any more."""
        self._mailbox.put(_Stop())

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end. False when it did not in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _bring(self, message: _Message) -> None:
        """A message of somebody who waits: what is computed in the background is given up."""
        self._mailbox.put(message)
        self._hurried.set()

    # --- the loop ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._receive():
                self._requests.end_overdue()
                self._requests.carry_out(self._scheduler.advance())
                spans = self._stepper.plan()
                if spans:
                    self._stepper.run(spans)
                embedded = self._embed_some(answering=bool(spans) or self._requests.are_coming)
                self._tell(has_computed=bool(spans) or embedded)
            self._keeper.finish()
            self._requests.drop_all()
        except Exception as error:
            log.exception("the engine gives up")
            self._on_fatal(error)
        finally:
            self._preparation.stop()

    def _receive(self) -> bool:
        """Take all messages; wait for one only when there is nothing to do. False is the end.

        While nothing runs, prompts that are being made or looked for on disk are waited for: what
        came together starts together.
        """
        self._hurried.clear()
        waits = self._waits()
        try:
            message = self._mailbox.get(waits, self._patience_s())
            if waits:
                self._gauge.woke(self._clock())
            while not isinstance(message, _Stop):
                self._take(message)
                waits = self._requests.are_coming and self._waits()
                message = self._mailbox.get(waits, self._patience_s())
        except queue.Empty:
            if waits and not self._requests.are_coming and not self._embeddings:
                self._keeper.save_idle(lambda: not self._mailbox.empty())
            self._report()
            return True
        return False

    def _waits(self) -> bool:
        """Whether there is nothing to compute, or not before what is coming."""
        if self._scheduler.running or self._embeds_now:
            return False
        return self._requests.are_coming or not self._scheduler.waiting

    def _patience_s(self) -> float | None:
        """How long to wait for a message: no longer than to a deadline of what is coming, or to the
        end of the background's rest."""
        if self._embeddings:
            return min(max(self._background_at_s - self._clock(), 0.0), PREPARING_AT_MOST_S)
        if not self._requests.are_coming:
            return IDLE_S if self._keeper.has_unsaved else None
        remaining_s = self._requests.first_deadline_s - self._clock()
        return min(max(remaining_s, 0.0), PREPARING_AT_MOST_S)

    def _take(self, message: _Work) -> None:
        match message:
            case Generation():
                self._requests.arrive(message)
            case Ready() | Unfit():
                self._requests.take_prepared(message)
            case Found():
                self._requests.take_found(message)
            case EmbedJob():
                self._embeddings.add(message)
            case _Threads(count=count):
                self._backend.use_threads(count)
            case _Cancel(request_id=request_id):
                self._requests.end_early(request_id, "cancelled")
            case _Forget(session_id=session_id):
                self._requests.forget_session(session_id)
            case _ForgetScope(scope=scope):
                self._requests.forget_scope(scope)

    @property
    def _embeds_now(self) -> bool:
        """Whether there is something to embed whose time has come."""
        if self._embeddings.is_urgent:
            return True
        return bool(self._embeddings) and self._clock() >= self._background_at_s

    def _embed_some(self, *, answering: bool) -> bool:
        """Embed a little while answers run or are about to, whole batches otherwise.

        In the background it is one text then, which has a share of the time, and none for a moment
        after something that was urgent. False when nothing was due.
        """
        if not self._embeds_now:
            return False
        bounds, urgent, began_s = self._bounds, self._embeddings.is_urgent, self._clock()
        budget_tokens = self.facts.embedding_batch_tokens
        if answering:
            budget_tokens = bounds.embed_step_tokens if urgent else ONE_TEXT
        since_s = time.perf_counter()
        outputs = self._embeddings.step(budget_tokens, self._hurried.is_set)
        self._gauge.native(since_s)
        ended_s = self._clock()
        if urgent:
            self._background_at_s = ended_s + bounds.embed_rest_s
        elif answering:
            self._background_at_s = ended_s + (ended_s - began_s) * (1 / bounds.embed_share - 1)
        for output in outputs:
            self._requests.outputs.append(output)
            self._embed_places.release()
        return True

    def _tell(self, *, has_computed: bool) -> None:
        """Report the step and emit what it brought. A look at what is coming is no step: it would
        hide from the watchdog that nothing comes."""
        if has_computed:
            self._gauge.stepped(self._clock())
        else:
            self._gauge.woke(self._clock())
        self._report()
        outputs = self._requests.outputs
        if outputs:
            self._requests.outputs = []
            self._emit(outputs)

    def _report(self) -> None:
        self.status = self._gauge.status(
            busy=self._scheduler.running,
            waiting=self._scheduler.waiting + self._requests.preparing,
            searching=self._requests.searching,
            embedding=len(self._embeddings),
            used_cells=self._scheduler.tree.used_cells,
            idle_sequences=len(self._scheduler.tree.idle),
            drafted=self._stepper.drafter.drafted,
            confirmed=self._stepper.drafter.confirmed,
        )
        self.warm_sessions = tuple(self._scheduler.tree.sessions[:WARM_SESSIONS_TOLD])
