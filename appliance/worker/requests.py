"""The open requests of an engine: how each one comes, gets its cells, speaks and ends.

A request arrives, has its prompt made, may be looked for on disk, stands in the scheduler's queue
and runs. Wherever it is, it can end, and then everything that knows it lets go of it. What the
scheduler decides about cache cells is carried out here on the backend.

Everything here is called on the engine thread. `outputs` gather until the engine emits them.
"""

import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.errors import Invalid
from appliance.worker.actions import Action, Adopt, Cut, Leave, Restore, Start
from appliance.worker.archive import Found
from appliance.worker.backend import Backend
from appliance.worker.draft import Lookup
from appliance.worker.jobs import (
    FinishReason,
    Generation,
    Output,
    Piece,
    Rejected,
    StopReason,
)
from appliance.worker.keeper import Keeper
from appliance.worker.prefix import Owner
from appliance.worker.preparation import Ready, Unfit
from appliance.worker.schedule import Scheduler
from appliance.worker.sequence import Prepared, Sequence

log = logging.getLogger(__name__)

NOT_PREPARED = Prepared(tokens=[], prompt_tokens=0, public_tokens=0, stops=(), lookup=Lookup(()))


@dataclass(frozen=True, slots=True)
class _Arrival:
    generation: Generation
    at_s: float


class OpenRequests:
    """Owns the sequences of one engine. `ended` is called once for each request that is gone."""

    def __init__(
        self,
        backend: Backend,
        scheduler: Scheduler,
        keeper: Keeper,
        *,
        clock: Callable[[], float],
        ended: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._scheduler = scheduler
        self._keeper = keeper
        self._clock = clock
        self._ended = ended
        self._arrived: dict[str, _Arrival] = {}
        self._searching: dict[str, Owner] = {}  # requests that wait for an answer of the archive
        self._deleted: set[str] = set()  # sessions of running requests that are not kept
        self.sequences: dict[str, Sequence] = {}
        self.outputs: list[Output] = []

    # --- coming -----------------------------------------------------------------------------

    @property
    def are_coming(self) -> bool:
        """Whether prompts are being made, or looked for on disk."""
        return bool(self._arrived or self._searching)

    @property
    def preparing(self) -> int:
        """Requests whose prompts are being made."""
        return len(self._arrived)

    @property
    def searching(self) -> int:
        """Requests whose beginnings are looked for on disk."""
        return len(self._searching)

    @property
    def first_deadline_s(self) -> float:
        """The earliest of those that are coming; there must be one."""
        coming = [arrival.generation for arrival in self._arrived.values()]
        coming += [self.sequences[request_id].generation for request_id in self._searching]
        return min(generation.deadline_at_s for generation in coming)

    def arrive(self, generation: Generation) -> None:
        """Its prompt is being made."""
        request_id = generation.request_id
        if request_id in self._arrived or request_id in self.sequences:
            log.error("request %s was submitted twice", request_id)
            self._ended()
        else:
            self._arrived[request_id] = _Arrival(generation, self._clock())

    def take_prepared(self, message: Ready | Unfit) -> None:
        """Its prompt is made, or cannot be."""
        request_id = message.generation.request_id
        arrival = self._arrived.get(request_id)
        if arrival is None or arrival.generation is not message.generation:
            return  # it was ended while its prompt was made, or submitted twice
        del self._arrived[request_id]
        if isinstance(message, Ready):
            at_s = arrival.at_s
            self._queue(Sequence(message.generation, message.prepared, arrived_at_s=at_s))
        else:
            self.reject(request_id, message.reason, message.message, hint=message.hint)

    def take_found(self, found: Found) -> None:
        """The archive has looked for its beginning."""
        if found.request_id in self._searching:
            self._submit(self.sequences[found.request_id], saved=self._keeper.take(found))

    def _queue(self, sequence: Sequence) -> None:
        self.sequences[sequence.request_id] = sequence
        if sequence.met_stop:  # resumed at its very end
            self.finish(sequence, "stop")
            return
        if sequence.new_tokens <= 0 or len(sequence.tokens) >= self._backend.shape.context_tokens:
            self.finish(sequence, "length")
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

    # --- running ----------------------------------------------------------------------------

    def carry_out(self, actions: Iterable[Action]) -> None:
        """Do what the scheduler has decided, in its order."""
        started: list[str] = []
        refused: dict[str, Invalid] = {}
        for action in actions:
            match action:
                case Start(request_id=request_id, sequence=number):
                    started.append(request_id)
                    if error := self._open(self.sequences[request_id], number):
                        refused[request_id] = error
                case Adopt():
                    self._adopt(action)
                case Restore():
                    self._restore(action)
                case Cut() | Leave():
                    self.cut([action])
        for request_id in started:
            self._keeper.drop(request_id)  # what was found for it lost to what is in the cache
        for request_id, error in refused.items():
            self.reject(request_id, error.reason, error.message, hint=error.hint)

    def cut(self, cuts: Iterable[Cut | Leave]) -> None:
        for cut in cuts:
            if isinstance(cut, Leave):
                self._keeper.leave(cut)
            else:
                self._backend.truncate(cut.sequence, cut.length)

    def _open(self, sequence: Sequence, number: int) -> Invalid | None:
        """Start sampling; what is returned is why it cannot be."""
        sampling = sequence.generation.sampling
        seed = secrets.randbelow(2**32 - 1) if sampling.seed is None else sampling.seed
        try:
            self._backend.open(
                number,
                sampling,
                seed=seed,
                answered=sequence.answered,
                automaton=sequence.automaton,
            )
        except Invalid as error:
            return error
        except Exception:
            log.exception("request %s cannot be started", sequence.request_id)
            return Invalid("the model refused the request", reason="engine_error")
        return None

    def _adopt(self, adopt: Adopt) -> None:
        self._backend.truncate(adopt.sequence, 0)
        if self._backend.share(adopt.source, adopt.sequence, adopt.tokens):
            self.sequences[adopt.request_id].cached_tokens = adopt.tokens
        else:
            self.cut(self._scheduler.unshared(adopt))

    def _restore(self, restore: Restore) -> None:
        tokens = self._keeper.restore(restore)
        self._scheduler.restored(restore.request_id, tokens)
        self.sequences[restore.request_id].cached_tokens = tokens

    def say(self, sequence: Sequence, text: str) -> None:
        """New text of an answer, if there is some."""
        if text:
            self.outputs.append(
                Piece(
                    request_id=sequence.request_id,
                    text=text,
                    tokens=sequence.take_untold(),
                    logprobs=sequence.logprobs.show(text),
                )
            )

    # --- ending -----------------------------------------------------------------------------

    def finish(self, sequence: Sequence, reason: FinishReason) -> None:
        """Its answer is whole."""
        self.outputs.append(sequence.finished(reason, self._clock()))
        self._forget(sequence.request_id, keep=True)

    def end_early(self, request_id: str, reason: StopReason) -> None:
        """Wherever it is; an unknown or ended one is left alone."""
        arrival = self._arrived.pop(request_id, None)
        if arrival is not None:
            self.sequences[request_id] = Sequence(
                arrival.generation, NOT_PREPARED, arrived_at_s=arrival.at_s
            )
        sequence = self.sequences.get(request_id)
        if sequence is not None:
            self.say(sequence, sequence.flush())
            self.outputs.append(sequence.stopped(reason, self._clock()))
            self._forget(request_id, keep=True)

    def end_overdue(self) -> None:
        """End those whose time is over."""
        now_s = self._clock()
        waiting = [arrival.generation for arrival in self._arrived.values()]
        running = [sequence.generation for sequence in self.sequences.values()]
        for generation in (*waiting, *running):
            if generation.deadline_at_s <= now_s:
                self.end_early(generation.request_id, "deadline")

    def reject(self, request_id: str, reason: str, message: str, *, hint: str = "") -> None:
        """It cannot be answered; nothing of it is kept."""
        self.outputs.append(
            Rejected(
                request_id=request_id,
                reason=reason,
                message=message,
                hint=hint or "ask again; see `sluice doctor` if it happens again",
            )
        )
        self._forget(request_id)

    def forget_session(self, session_id: str) -> None:
        """Nothing of it stays, in the cache or on disk."""
        if session_id in self._open_sessions():
            self._deleted.add(session_id)
        self.cut(self._scheduler.forget(session_id))
        self._keeper.forget(session_id)

    def forget_scope(self, scope: str) -> None:
        """Nothing of a person stays that belongs to no session."""
        self.cut(self._scheduler.forget_scope(scope))
        self._keeper.forget_scope(scope)

    def drop_all(self) -> None:
        """Leave an empty cache behind."""
        for request_id in [*self.sequences]:
            self._forget(request_id)
        self.cut(self._scheduler.clear())

    def _forget(self, request_id: str, *, keep: bool = False) -> None:
        """Let go of a request; with `keep` what was computed for it stays warm."""
        sequence = self.sequences.pop(request_id, None)
        self._searching.pop(request_id, None)
        self._keeper.drop(request_id)
        session_id = sequence.generation.session_id if sequence else ""
        number = self._scheduler.sequence(request_id)
        if number is not None:
            self._backend.close(number)
        keep = keep and session_id not in self._deleted
        self.cut(self._scheduler.remove(request_id, keep=keep))
        if keep and number is not None:
            self._keeper.parked(number)
        if session_id not in self._open_sessions():
            self._deleted.discard(session_id)
        self._ended()

    def _open_sessions(self) -> set[str]:
        arrived = [arrival.generation for arrival in self._arrived.values()]
        running = [sequence.generation for sequence in self.sequences.values()]
        return {generation.session_id for generation in (*arrived, *running)}
