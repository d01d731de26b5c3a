"""The engine thread: many answers at once from one model.

The loop receives (and blocks only when idle), schedules, drafts, decodes, samples, embeds and
emits. Prompts are made on a thread beside it (`preparation`). One thread owns the backend, the
scheduler and every sequence; other threads only put messages into its mailbox. What a step
brought is emitted once, after the step, in one list; what the receiver does with it happens on
another thread. Which cells of the cache a request may use, and what stays warm when it ends, the
scheduler decides; the engine carries it out on the backend.

A failing request never takes others with it, and a failing step takes only the requests in it.
Steps that fail again and again mean the model is broken: then the engine gives up and says so.
The engine refuses work beyond its bounds at the door and never drops work it took.
"""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.errors import Invalid, Overloaded
from appliance.worker.archive import Archive, Found
from appliance.worker.backend import Backend, Chunk, Outcome
from appliance.worker.draft import NO_GUESS, Drafter, Lookup
from appliance.worker.embedding import EmbeddingQueue
from appliance.worker.gauge import Gauge
from appliance.worker.jobs import (
    EmbedJob,
    FinishReason,
    Generation,
    Output,
    Piece,
    Rejected,
    StopReason,
)
from appliance.worker.keeper import IDLE_S, Keeper
from appliance.worker.prefix import Owner
from appliance.worker.preparation import Preparation, Ready, Unfit
from appliance.worker.prompts import PromptMaker
from appliance.worker.schedule import Adopt, Cut, Leave, Restore, Scheduler, Span, Start
from appliance.worker.sequence import Prepared, Sequence

log = logging.getLogger(__name__)

FAILED_STEPS_BOUND = 3  # this many failing steps in a row are a broken model
PREPARING_AT_MOST_S = 1.0  # an engine without other work looks up this often while it waits
NOT_PREPARED = Prepared(tokens=[], prompt_tokens=0, public_tokens=0, stops=(), lookup=Lookup(()))
PROMPT_AT_LEAST = 32  # tokens of prompts in a step, however long it takes
WARMING_STEP_TOKENS = 64  # a person who comes meanwhile waits for no more than that
WARM_SESSIONS_TOLD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of one engine besides its backend's shape."""

    requests: int = 256  # generations open at once, waiting ones included
    embed_jobs: int = 256  # embedding jobs open at once
    embed_texts: int = 4096  # texts in one embedding job
    embed_step_tokens: int = 128  # embedding tokens per step while answers run
    drafts_per_request: int = 16  # guessed tokens of one request in one step; 0 guesses never
    gap_s: float = 0.5  # between two tokens of an answer while prompts are computed


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: str


@dataclass(frozen=True, slots=True)
class _Threads:
    count: int


@dataclass(frozen=True, slots=True)
class _Forget:
    session_id: str


class _Stop:
    pass


@dataclass(frozen=True, slots=True)
class _Arrival:
    generation: Generation
    at_s: float


_Work = Generation | Ready | Unfit | Found | EmbedJob | _Cancel | _Forget | _Threads
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
        self._searching: dict[str, Owner] = {}  # requests that wait for an answer of the archive
        self._deleted: set[str] = set()  # sessions of running requests that are not kept
        self._embeddings = EmbeddingQueue(backend)
        self._arrived: dict[str, _Arrival] = {}
        self._sequences: dict[str, Sequence] = {}
        self._outputs: list[Output] = []
        self._failed_steps = 0
        self._gauge = Gauge(clock())
        self._mailbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._preparation = Preparation(PromptMaker(backend), self._mailbox.put)
        self._drafter = Drafter(self._bounds.drafts_per_request if backend.facts.can_share else 0)
        self._request_places = threading.Semaphore(self._bounds.requests)
        self._embed_places = threading.Semaphore(self._bounds.embed_jobs)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.status = self._gauge.status()
        self.warm_sessions: tuple[str, ...] = ()  # replaced as a whole, like the status
        self.facts = backend.facts

    def start(self) -> None:
        self._preparation.start()
        self._keeper.start(self._mailbox.put)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Take a request. Raises Overloaded when too many are open."""
        if not self._request_places.acquire(blocking=False):
            raise Overloaded("the worker's queue is full", retry_after_s=1.0)
        self._mailbox.put(generation)
        self._preparation.put(generation)

    def embed(self, job: EmbedJob) -> None:
        """Take an embedding job. Raises Overloaded, and Invalid when it is empty or too large."""
        if not 1 <= len(job.texts) <= self._bounds.embed_texts:
            raise Invalid(f"an embedding job has 1 to {self._bounds.embed_texts} texts")
        if not self._embed_places.acquire(blocking=False):
            raise Overloaded("the worker's embedding queue is full", retry_after_s=1.0)
        self._mailbox.put(job)

    def cancel(self, request_id: str) -> None:
        """End a request at the next step; an unknown or ended one is left alone."""
        self._mailbox.put(_Cancel(request_id))

    def use_threads(self, count: int) -> None:
        """Compute with this many CPU threads from the next step on."""
        self._mailbox.put(_Threads(count))

    def forget(self, session_id: str) -> None:
        """Let nothing of a session stay in the cache or on disk."""
        self._mailbox.put(_Forget(session_id))

    def stop(self) -> None:
        """End the thread after the current step. Open requests get no output any more."""
        self._mailbox.put(_Stop())

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end. False when it did not in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- the loop ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._receive():
                self._end_overdue()
                spans = self._schedule()
                if spans:
                    self._step(spans)
                self._embed_some(answering=bool(spans) or self._is_more_coming)
                self._tell()
            self._keeper.finish()
            self._drop_all()
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
        waits = self._waits()
        try:
            message = self._mailbox.get(waits, self._patience_s())
            if waits:
                self._gauge.woke(self._clock())
            while not isinstance(message, _Stop):
                self._take(message)
                waits = self._is_more_coming and self._waits()
                message = self._mailbox.get(waits, self._patience_s())
        except queue.Empty:
            if waits and not self._is_more_coming:
                self._keeper.save_idle(lambda: not self._mailbox.empty())
            self._report()
            return True
        return False

    @property
    def _is_more_coming(self) -> bool:
        """Whether prompts are being made, or looked for on disk."""
        return bool(self._arrived or self._searching)

    def _waits(self) -> bool:
        """Whether there is nothing to compute, or not before what is coming."""
        if self._scheduler.running or self._embeddings:
            return False
        return self._is_more_coming or not self._scheduler.waiting

    def _patience_s(self) -> float | None:
        """How long to wait for a message: no longer than to a deadline of what is coming."""
        if not self._is_more_coming:
            return IDLE_S if self._keeper.has_unsaved else None
        coming = [arrival.generation for arrival in self._arrived.values()]
        coming += [self._sequences[request_id].generation for request_id in self._searching]
        deadline_s = min(generation.deadline_at_s for generation in coming)
        return min(max(deadline_s - self._clock(), 0.0), PREPARING_AT_MOST_S)

    def _take(self, message: _Work) -> None:
        match message:
            case Generation(request_id=request_id):
                if request_id in self._arrived or request_id in self._sequences:
                    log.error("request %s was submitted twice", request_id)
                    self._request_places.release()
                else:
                    self._arrived[request_id] = _Arrival(message, self._clock())
            case Ready() | Unfit():
                self._take_prepared(message)
            case EmbedJob():
                self._embeddings.add(message)
            case _Threads(count=count):
                self._backend.use_threads(count)
            case _Cancel(request_id=request_id):
                self._end_early(request_id, "cancelled")
            case Found(request_id=request_id):
                if request_id in self._searching:
                    self._submit(self._sequences[request_id], saved=self._keeper.take(message))
            case _Forget(session_id=session_id):
                self._forget_session(session_id)

    def _take_prepared(self, message: Ready | Unfit) -> None:
        request_id = message.generation.request_id
        arrival = self._arrived.get(request_id)
        if arrival is None or arrival.generation is not message.generation:
            return  # it was ended while its prompt was made, or submitted twice
        del self._arrived[request_id]
        if isinstance(message, Ready):
            at_s = arrival.at_s
            self._queue(Sequence(message.generation, message.prepared, arrived_at_s=at_s))
        else:
            self._reject(request_id, message.reason, message.message, hint=message.hint)

    def _end_overdue(self) -> None:
        now_s = self._clock()
        waiting = [arrival.generation for arrival in self._arrived.values()]
        running = [sequence.generation for sequence in self._sequences.values()]
        for generation in (*waiting, *running):
            if generation.deadline_at_s <= now_s:
                self._end_early(generation.request_id, "deadline")

    def _queue(self, sequence: Sequence) -> None:
        self._sequences[sequence.request_id] = sequence
        if sequence.met_stop:  # resumed at its very end
            self._finish(sequence, "stop")
            return
        if sequence.new_tokens <= 0 or len(sequence.tokens) >= self._backend.shape.context_tokens:
            self._finish(sequence, "length")
            return
        generation = sequence.generation
        owner = Owner(
            scope=generation.scope,
            session=generation.session_id,
            public_tokens=sequence.public_tokens,
        )
        self._searching[sequence.request_id] = owner
        if not self._keeper.search(sequence, owner):
            self._submit(sequence, saved=0)

    def _submit(self, sequence: Sequence, *, saved: int) -> None:
        self._scheduler.submit(
            sequence.request_id,
            sequence.tokens,
            owner=self._searching.pop(sequence.request_id),
            new_tokens=sequence.new_tokens,
            saved=saved,
        )

    def _schedule(self) -> list[Span]:
        refused: dict[str, Invalid] = {}
        for action in self._scheduler.advance():
            match action:
                case Start(request_id=request_id, sequence=number):
                    if error := self._open(self._sequences[request_id], number):
                        refused[request_id] = error
                case Adopt():
                    self._adopt(action)
                case Restore():
                    self._restore(action)
                case Cut() | Leave():
                    self._cut([action])
        for request_id, error in refused.items():
            self._reject(request_id, error.reason, error.message, hint=error.hint)
        return self._scheduler.plan(self._budget(), self._draft())

    def _budget(self) -> int:
        """Tokens for the next step: as many as the answers that run can wait for."""
        most = self._backend.shape.step_tokens
        if all(one.generation.prefill_only for one in self._sequences.values()):
            return WARMING_STEP_TOKENS
        decoding = len(self._scheduler.decoding)
        if not decoding:
            return most
        fitting = self._gauge.all_steps.fitting(self._bounds.gap_s)
        return most if fitting is None else max(fitting, decoding + PROMPT_AT_LEAST)

    def _draft(self) -> dict[str, int]:
        """Guess what answers say next; returns how many tokens of each guess to compute."""
        if not self._drafter.most:
            return {}
        decoding = [self._sequences[one] for one in self._scheduler.decoding]
        guesses = self._drafter.draft(
            {sequence.request_id: sequence.lookup for sequence in decoding},
            step_s=self._gauge.small_steps.predict,
        )
        for sequence in decoding:
            sequence.guess = guesses.get(sequence.request_id, NO_GUESS)
        return {request_id: len(guess.tokens) for request_id, guess in guesses.items()}

    def _open(self, sequence: Sequence, number: int) -> Invalid | None:
        """Start sampling; what is returned is why it cannot be."""
        sampling = sequence.generation.sampling
        seed = secrets.randbelow(2**32 - 1) if sampling.seed is None else sampling.seed
        try:
            self._backend.open(number, sampling, seed=seed, answered=sequence.answered)
        except Invalid as error:
            return error
        except Exception:
            log.exception("request %s cannot be started", sequence.request_id)
            return Invalid("the model refused the request", reason="engine_error")
        return None

    def _adopt(self, adopt: Adopt) -> None:
        self._backend.truncate(adopt.sequence, 0)
        if self._backend.share(adopt.source, adopt.sequence, adopt.tokens):
            self._sequences[adopt.request_id].cached_tokens = adopt.tokens
        else:
            self._cut(self._scheduler.unshared(adopt))

    def _restore(self, restore: Restore) -> None:
        tokens = self._keeper.restore(restore)
        self._scheduler.restored(restore.request_id, tokens)
        self._sequences[restore.request_id].cached_tokens = tokens

    def _cut(self, cuts: Iterable[Cut | Leave]) -> None:
        for cut in cuts:
            if isinstance(cut, Leave):
                self._keeper.leave(cut)
            else:
                self._backend.truncate(cut.sequence, cut.length)

    def _step(self, spans: list[Span]) -> None:
        since_s = time.perf_counter()
        if self._decode(spans):
            self._sample(spans)
            tokens = sum(span.count for span in spans)
            self._gauge.computed(tokens, time.perf_counter() - since_s)

    def _decode(self, spans: list[Span]) -> bool:
        """Run a step. False when it failed, and then it has fewer requests next time."""
        chunks = [self._chunk(span) for span in spans]
        outcome = self._outcome(chunks)
        if outcome is Outcome.DONE:
            for span, chunk in zip(spans, chunks, strict=True):
                self._scheduler.decoded(span, chunk.tokens)
            self._failed_steps = 0
            return True
        log.error("a step of %d requests ended with: %s", len(spans), outcome.value)
        if outcome is Outcome.NO_ROOM:
            newest = spans[-1].request_id
            self._reject(newest, "no_room", "the model's cache has no room for this request")
            return False
        for span in spans:
            self._reject(span.request_id, "engine_error", "the model failed during this request")
        self._failed_steps += 1
        if self._failed_steps >= FAILED_STEPS_BOUND:
            raise RuntimeError(f"{self._failed_steps} steps in a row failed")
        return False

    def _outcome(self, chunks: list[Chunk]) -> Outcome:
        since_s = time.perf_counter()
        try:
            return self._backend.decode(chunks)
        except Exception:
            log.exception("a step failed")
            return Outcome.BROKEN
        finally:
            self._gauge.native(since_s)

    def _chunk(self, span: Span) -> Chunk:
        sequence = self._sequences[span.request_id]
        tokens = sequence.tokens[span.start : span.start + span.count]
        if span.drafts:
            tokens += sequence.guess.tokens[: span.drafts]
        return Chunk(span.sequence, tokens, span.start, int(span.last) + span.drafts)

    def _sample(self, spans: list[Span]) -> None:
        now_s = self._clock()
        for span in spans:
            if not span.last:
                continue
            sequence = self._sequences[span.request_id]
            try:
                self._say(sequence, self._sample_span(span, sequence, now_s))
            except Invalid as error:
                self._reject(span.request_id, error.reason, error.message, hint=error.hint)
                continue
            except Exception:
                log.exception("request %s: sampling failed", span.request_id)
                self._reject(span.request_id, "engine_error", "the model failed to sample")
                continue
            if sequence.finish_reason:
                self._finish(sequence, sequence.finish_reason)

    def _sample_span(self, span: Span, sequence: Sequence, now_s: float) -> str:
        """Sample token by token, as long as what was guessed is what was chosen."""
        if sequence.generation.prefill_only:
            sequence.finish_reason = "length"
            return ""
        texts, confirmed = [], 0
        for row in range(1 + span.drafts):
            since_s = time.perf_counter()
            token = self._backend.sample(span.sequence, row)
            self._gauge.native(since_s)
            self._gauge.sampled += 1
            logprob = self._backend.logprobs(span.sequence)
            sequence.logprobs.add(logprob, self._backend.piece(token))
            texts.append(self._advance(sequence, token, now_s))
            if row == span.drafts or token != sequence.guess.tokens[row]:
                break
            confirmed += 1
            if sequence.finish_reason:
                break
        if span.drafts:
            self._drafter.learn(
                sequence.lookup, sequence.guess, drafted=span.drafts, confirmed=confirmed
            )
            self._cut(self._scheduler.confirmed(span, confirmed))
        return "".join(texts)

    def _advance(self, sequence: Sequence, token: int, now_s: float) -> str:
        if self._backend.is_end(token):
            return sequence.end(now_s)
        self._scheduler.sampled(sequence.request_id)
        room = self._scheduler.room(sequence.request_id)
        return sequence.extend(token, self._backend.piece(token), room=room, now_s=now_s)

    def _embed_some(self, *, answering: bool) -> None:
        """Embed a little while answers run or are about to, whole batches otherwise."""
        if not self._embeddings:
            return
        whole_batch = self.facts.embedding_batch_tokens
        since_s = time.perf_counter()
        outputs = self._embeddings.step(
            self._bounds.embed_step_tokens if answering else whole_batch
        )
        self._gauge.native(since_s)
        for output in outputs:
            self._outputs.append(output)
            self._embed_places.release()

    def _tell(self) -> None:
        """Report the step and emit what it brought."""
        self._gauge.stepped(self._clock())
        self._report()
        if self._outputs:
            outputs, self._outputs = self._outputs, []
            self._emit(outputs)

    def _report(self) -> None:
        self.status = self._gauge.status(
            busy=self._scheduler.running,
            waiting=self._scheduler.waiting + len(self._arrived),
            embedding=len(self._embeddings),
            used_cells=self._scheduler.tree.used_cells,
            idle_sequences=len(self._scheduler.tree.idle),
            drafted=self._drafter.drafted,
            confirmed=self._drafter.confirmed,
        )
        self.warm_sessions = tuple(self._scheduler.tree.sessions[:WARM_SESSIONS_TOLD])

    def _drop_all(self) -> None:
        """Leave an empty cache behind."""
        for request_id in [*self._sequences]:
            self._forget(request_id)
        self._cut(self._scheduler.clear())

    # --- ends -------------------------------------------------------------------------------

    def _say(self, sequence: Sequence, text: str) -> None:
        if text:
            self._outputs.append(
                Piece(
                    request_id=sequence.request_id,
                    text=text,
                    tokens=sequence.take_untold(),
                    logprobs=sequence.logprobs.show(text),
                )
            )

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self._outputs.append(sequence.finished(reason, self._clock()))
        self._forget(sequence.request_id, keep=True)

    def _end_early(self, request_id: str, reason: StopReason) -> None:
        arrival = self._arrived.pop(request_id, None)
        if arrival is not None:
            self._sequences[request_id] = Sequence(
                arrival.generation, NOT_PREPARED, arrived_at_s=arrival.at_s
            )
        sequence = self._sequences.get(request_id)
        if sequence is not None:
            self._say(sequence, sequence.flush())
            self._outputs.append(sequence.stopped(reason, self._clock()))
            self._forget(request_id, keep=True)

    def _reject(self, request_id: str, reason: str, message: str, *, hint: str = "") -> None:
        self._outputs.append(
            Rejected(
                request_id=request_id,
                reason=reason,
                message=message,
                hint=hint or "ask again; see `sluice doctor` if it happens again",
            )
        )
        self._forget(request_id)

    def _forget(self, request_id: str, *, keep: bool = False) -> None:
        """Let go of a request; with `keep` what was computed for it stays warm."""
        sequence = self._sequences.pop(request_id, None)
        self._searching.pop(request_id, None)
        self._keeper.drop(request_id)
        session_id = sequence.generation.session_id if sequence else ""
        number = self._scheduler.sequence(request_id)
        if number is not None:
            self._backend.close(number)
        keep = keep and session_id not in self._deleted
        self._cut(self._scheduler.remove(request_id, keep=keep))
        if keep and number is not None:
            self._keeper.parked(number)
        if session_id not in self._open_sessions():
            self._deleted.discard(session_id)
        self._request_places.release()

    def _forget_session(self, session_id: str) -> None:
        if session_id in self._open_sessions():
            self._deleted.add(session_id)
        self._cut(self._scheduler.forget(session_id))
        self._keeper.forget(session_id)

    def _open_sessions(self) -> set[str]:
        arrived = [arrival.generation for arrival in self._arrived.values()]
        running = [sequence.generation for sequence in self._sequences.values()]
        return {generation.session_id for generation in (*arrived, *running)}
