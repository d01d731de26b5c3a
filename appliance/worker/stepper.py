"""One step of an engine: how many tokens, which guesses, computing them, and choosing what follows.

A failing request never takes others with it, and a failing step takes only the requests in it.
Steps that fail again and again mean the model is broken: then RuntimeError ends the engine.
"""

import logging
import time
from collections.abc import Callable

from appliance.errors import Invalid
from appliance.worker.actions import Span
from appliance.worker.backend import Backend, Chunk, Outcome
from appliance.worker.draft import NO_GUESS, Drafter
from appliance.worker.gauge import Gauge
from appliance.worker.precedence import PACE_S, Precedence, Turn
from appliance.worker.requests import OpenRequests
from appliance.worker.schedule import Scheduler
from appliance.worker.sequence import Sequence

log = logging.getLogger(__name__)

FAILED_STEPS_BOUND = 3  # this many failing steps in a row are a broken model
PROMPT_AT_LEAST = 32  # tokens of prompts in a step, however long it takes
KERNEL_TOKENS = 16  # kernels compute so many together: 49 take 5 % longer than 48, 47 only 1 % less
WARMING_STEP_TOKENS = 64  # a person who comes meanwhile waits for no more than that
STRETCH = 2.0  # so much longer may a step be while more wait for a first token than are answered


class Stepper:
    """Computes what the scheduler lets run, and tells the gauge how long it took.

    `drafts` bounds the guesses of one request in one step. While answers run, a step with prompts
    takes no longer than `gap_s`, or up to STRETCH times that while prompts outnumber answers.
    `kept_pace` is the part of the time kept for whoever has asked little (`precedence`).
    """

    def __init__(
        self,
        backend: Backend,
        scheduler: Scheduler,
        requests: OpenRequests,
        gauge: Gauge,
        *,
        drafts: int,
        gap_s: float,
        kept_pace: float,
        clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._scheduler = scheduler
        self._requests = requests
        self._gauge = gauge
        self._gap_s = gap_s
        self._precedence = Precedence(kept=kept_pace, gap_s=PACE_S)
        self._clock = clock
        self._failed_steps = 0
        self.drafter = Drafter(drafts if backend.facts.can_share else 0)

    def plan(self) -> list[Span]:
        """What the next step computes."""
        answering = self._scheduler.decoding
        turn = self._turn(answering)
        decoding = [one for one in answering if one not in turn.out]
        prompts = self._scheduler.running - len(answering)
        budget = self._budget(len(decoding), prompts, turn)
        return self._scheduler.plan(budget, self._draft(decoding), turn.out)

    def run(self, spans: list[Span]) -> None:
        """Compute a step and give each request what it brought."""
        since_s = time.perf_counter()
        if self._decode(spans):
            self._sample(spans)
            tokens = {span.request_id: span.count for span in spans}
            seconds = time.perf_counter() - since_s
            self._gauge.computed(sum(tokens.values()), seconds)
            self._precedence.charge(tokens, seconds, self._clock())

    def _turn(self, answering: list[str]) -> Turn:
        users = {
            request_id: sequence.generation.scope
            for request_id, sequence in self._requests.sequences.items()
            if self._scheduler.sequence(request_id) is not None
        }
        return self._precedence.turn(users, answering, self._gauge, self._clock())

    def _budget(self, decoding: int, prompts: int, turn: Turn) -> int:
        """Tokens for the next step: as many as the answers that run can wait for."""
        most = self._backend.shape.step_tokens
        if all(one.generation.prefill_only for one in self._requests.sequences.values()):
            return WARMING_STEP_TOKENS
        if not decoding and not turn.waits:
            return most
        if turn.prompt_tokens is not None:
            return decoding + turn.prompt_tokens
        gap_s = (
            STRETCH * self._gap_s
            if turn.waits
            else gap_between(self._gap_s, answers=decoding, prompts=prompts)
        )
        fitting = self._gauge.all_steps.fitting(gap_s)
        return most if fitting is None else portion(fitting, answers=decoding)

    def _draft(self, decoding: list[str]) -> dict[str, int]:
        """Guess what answers say next; returns how many tokens of each guess to compute."""
        if not self.drafter.most:
            return {}
        sequences = [self._requests.sequences[one] for one in decoding]
        guesses = self.drafter.draft(
            {sequence.request_id: sequence.lookup for sequence in sequences},
            step_s=self._gauge.small_steps.predict,
        )
        for sequence in sequences:
            sequence.guess = guesses.get(sequence.request_id, NO_GUESS)
        return {request_id: len(guess.tokens) for request_id, guess in guesses.items()}

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
            self._requests.reject(
                newest, "no_room", "the model's cache has no room for this request"
            )
            return False
        for span in spans:
            self._requests.reject(
                span.request_id, "engine_error", "the model failed during this request"
            )
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
        sequence = self._requests.sequences[span.request_id]
        tokens = sequence.tokens[span.start : span.start + span.count]
        if span.drafts:
            tokens += sequence.guess.tokens[: span.drafts]
        return Chunk(span.sequence, tokens, span.start, int(span.last) + span.drafts)

    def _sample(self, spans: list[Span]) -> None:
        requests, now_s = self._requests, self._clock()
        for span in spans:
            if not span.last:
                continue
            sequence = requests.sequences[span.request_id]
            try:
                requests.say(sequence, self._sample_span(span, sequence, now_s))
            except Invalid as error:
                requests.reject(span.request_id, error.reason, error.message, hint=error.hint)
                continue
            except Exception:
                log.exception("request %s: sampling failed", span.request_id)
                requests.reject(span.request_id, "engine_error", "the model failed to sample")
                continue
            if sequence.finish_reason:
                requests.finish(sequence, sequence.finish_reason)

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
            self.drafter.learn(
                sequence.lookup, sequence.guess, drafted=span.drafts, confirmed=confirmed
            )
            self._requests.cut(self._scheduler.confirmed(span, confirmed))
        return "".join(texts)

    def _advance(self, sequence: Sequence, token: int, now_s: float) -> str:
        if self._backend.is_end(token):
            return sequence.end(now_s)
        self._scheduler.sampled(sequence.request_id)
        room = self._scheduler.room(sequence.request_id)
        return sequence.extend(token, self._backend.piece(token), room=room, now_s=now_s)


def gap_between(gap_s: float, *, answers: int, prompts: int) -> float:
    """How long a step may be: longer while more people wait for a first word than read on.

    Short portions of a prompt cost more per token, and those who have no word yet wait for all.
    """
    return gap_s * min(max(1.0, prompts / answers), STRETCH)


def portion(fitting: int, *, answers: int) -> int:
    """Tokens of a step into which about `fitting` fit, these answers' among them: whole batches of
    the kernels, and not too few of prompts."""
    least = answers + PROMPT_AT_LEAST
    wanted = max(fitting, least) + KERNEL_TOKENS // 2
    return max(wanted // KERNEL_TOKENS * KERNEL_TOKENS, least)
