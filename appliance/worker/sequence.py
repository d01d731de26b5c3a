"""One request inside the engine: its tokens, its text, its clock.

A sequence begins with the prompt's tokens and those of the text a lost worker had already
given, and grows by one token per step. It decides when its answer is over: an end token, a stop
string, or no room for another token, whichever comes first.
"""

from dataclasses import dataclass

from appliance.grammar.automaton import Automaton
from appliance.worker.draft import NO_GUESS, Lookup
from appliance.worker.jobs import Finished, FinishReason, Generation, Stopped, StopReason
from appliance.worker.logprobs import LogprobQueue
from appliance.worker.text import TextStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request as tokens: `tokens[:prompt_tokens]` is the prompt, the rest is resumed text.

    The first `public_tokens` are the same for everybody. `resumed_pieces` are the bytes of the
    resumed tokens where these are the very tokens sampled. `automaton` is that of its grammar.
    """

    tokens: list[int]
    prompt_tokens: int
    public_tokens: int
    stops: tuple[str, ...]
    lookup: Lookup
    cut_turns: int = 0  # of the conversation that the context had no room for
    resumed_pieces: tuple[bytes, ...] = ()
    automaton: Automaton | None = None


class Sequence:
    """A request with its tokens."""

    def __init__(self, generation: Generation, prepared: Prepared, *, arrived_at_s: float) -> None:
        self.generation = generation
        self.tokens = list(prepared.tokens)
        self.cached_tokens = 0  # those that did not have to be computed
        self.lookup = prepared.lookup
        self.guess = NO_GUESS  # what may follow, in the step under way
        self.public_tokens = prepared.public_tokens
        self.automaton = prepared.automaton
        self.finish_reason: FinishReason | None = None
        self._cut_turns = prepared.cut_turns
        self._prompt_tokens = prepared.prompt_tokens
        self._resumed_tokens = len(prepared.tokens) - prepared.prompt_tokens
        self._stream = TextStream(prepared.stops)
        self.logprobs = LogprobQueue()
        # Their text was given, so only what was held back comes of this; and if more was given
        # than is certain, the worker before had met the end and held back nothing any more.
        given = 0
        for piece in prepared.resumed_pieces:
            given += len(self._stream.feed(piece))
            self.logprobs.add(None, piece)
        if prepared.resumed_pieces:
            self.logprobs.show(generation.resume_text)
        if given < len(generation.resume_text):
            self._stream.flush()
        self._told_tokens = len(prepared.tokens)
        self._texts = [generation.resume_text]
        self._arrived_at_s = arrived_at_s
        self._first_token_at_s: float | None = None

    @property
    def request_id(self) -> str:
        return self.generation.request_id

    @property
    def answered(self) -> list[int]:
        """Tokens of the answer so far, resumed ones included."""
        return self.tokens[self._prompt_tokens :]

    @property
    def met_stop(self) -> bool:
        """A stop string was met, perhaps by the worker before."""
        return self._stream.stopped

    def take_untold(self) -> tuple[int, ...]:
        """The tokens sampled since the last call."""
        start, self._told_tokens = self._told_tokens, len(self.tokens)
        return tuple(self.tokens[start:])

    @property
    def new_tokens(self) -> int:
        """How many tokens the request still allows."""
        return self.generation.sampling.max_tokens - (len(self.tokens) - self._prompt_tokens)

    def extend(self, token: int, piece: bytes, *, room: int, now_s: float) -> str:
        """Take a sampled token. Returns the text that is certain now; may set `finish_reason`."""
        self._mark_first_token(now_s)
        self.tokens.append(token)
        self.lookup.extend(token)
        text = self._stream.feed(piece)
        if self._stream.stopped:
            self.finish_reason = "stop"
        elif room == 0:
            self.finish_reason = "length"
            text += self._stream.flush()
        self._texts.append(text)
        return text

    def end(self, now_s: float) -> str:
        """The model ended its answer. Returns the text held back until now."""
        self._mark_first_token(now_s)
        self.finish_reason = "stop"
        return self.flush()

    def flush(self) -> str:
        """Give up waiting for a stop string or the rest of a character."""
        text = self._stream.flush()
        self._texts.append(text)
        return text

    def finished(self, reason: FinishReason, now_s: float) -> Finished:
        return Finished(
            request_id=self.request_id,
            text="".join(self._texts),
            prompt_tokens=self._prompt_tokens,
            completion_tokens=len(self.tokens) - self._prompt_tokens,
            resumed_tokens=self._resumed_tokens,
            cached_tokens=min(self.cached_tokens, self._prompt_tokens),
            cut_turns=self._cut_turns,
            first_token_s=self._first_token_s(),
            decode_s=self._decode_s(now_s),
            finish_reason=reason,
        )

    def stopped(self, reason: StopReason, now_s: float) -> Stopped:
        return Stopped(
            request_id=self.request_id,
            text="".join(self._texts),
            prompt_tokens=self._prompt_tokens,
            completion_tokens=len(self.tokens) - self._prompt_tokens,
            resumed_tokens=self._resumed_tokens,
            cached_tokens=min(self.cached_tokens, self._prompt_tokens),
            cut_turns=self._cut_turns,
            first_token_s=self._first_token_s(),
            decode_s=self._decode_s(now_s),
            reason=reason,
        )

    def _mark_first_token(self, now_s: float) -> None:
        if self._first_token_at_s is None:
            self._first_token_at_s = now_s

    def _first_token_s(self) -> float:
        return (
            0.0 if self._first_token_at_s is None else self._first_token_at_s - self._arrived_at_s
        )

    def _decode_s(self, now_s: float) -> float:
        return 0.0 if self._first_token_at_s is None else now_s - self._first_token_at_s
