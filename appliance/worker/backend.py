"""What the engine asks of a model: the contract that llama.cpp and the fake both satisfy.

A backend owns one KV cache of `Shape.cache_tokens` cells, shared by up to `Shape.sequences`
sequences, and optionally a second, embedding model. A cell holds one token at one position and
is held by one or more sequences: it is occupied as long as anybody holds it. Which sequence
holds what is the engine's to know and to decide (`prefix`).

Everything but `tokenize`, `piece` and `is_end` is called on the engine thread only, so a backend
needs no locks and its compute threads never exceed one budget.

Token ids are plain `int`, text is UTF-8 `bytes` one token at a time (a token may end inside a
character), positions count from 0. A backend knows nothing of requests, prompts or time.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.errors import Invalid
from appliance.grammar.automaton import Automaton
from appliance.schema.events import TokenLogprob
from appliance.schema.sampling import Sampling
from appliance.schema.status import Alarm, DeviceStatus

SEQUENCES_BOUND = 256  # llama.cpp's own
DRAFTS_BOUND = 24  # each costs the logits of one more token: 600 kB with 150,000 tokens

TextKind = Literal["query", "passage"]
Unless = Callable[[], bool]

Vectors = NDArray[np.float32]  # shape (texts, Facts.embedding_size), rows of length 1
Cells = NDArray[np.uint8]  # a copy of a sequence's cache cells, in the backend's own format


class GivenUp(Exception):
    """A batch that was not computed to the end, because somebody else waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes that backend, scheduler and engine must agree on.

    `slots` requests run at once and up to `warm_sequences` ended ones keep their cells, of which
    no running one holds more than `warm_tokens` too (the newest ended one stays whatever it has).
    `context_tokens` bounds one request (prompt plus answer), `cache_tokens` all of them
    together, `step_tokens` one step. Raises Invalid when they contradict each other.
    """

    slots: int = 8
    warm_sequences: int = 24
    warm_tokens: int = 1024
    context_tokens: int = 8192
    cache_tokens: int = 16384
    step_tokens: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= SEQUENCES_BOUND or self.context_tokens < 2:
            raise Invalid("a worker needs 1 to 256 slots and at least two context tokens")
        if self.step_tokens < self.slots:
            raise Invalid(
                f"{self.step_tokens} tokens per step cannot advance {self.slots} slots",
                hint="set step_tokens to at least the number of slots",
            )
        if self.cache_tokens < self.context_tokens:
            raise Invalid(
                f"a cache of {self.cache_tokens} tokens cannot hold one request "
                f"of {self.context_tokens}",
                hint="lower context_tokens or raise cache_tokens",
            )

    @property
    def sequences(self) -> int:
        """How many sequences may hold cells; their ids count from 0."""
        return min(SEQUENCES_BOUND, self.slots + self.warm_sequences)

    @property
    def drafts(self) -> int:
        """Most draft tokens in one step, over all requests."""
        return max(DRAFTS_BOUND, self.sequences - self.slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a backend found in its models; empty strings and zeros mean "has none"."""

    engine: Literal["llama", "fake"]
    model: str
    device: str  # what computes, and how many layers it holds
    cache_stamp: str  # equal where saved cache cells mean the same: model, build and cache layout
    chat_template: str  # Jinja source from the model file
    begin_text: str  # text of the token that begins a prompt, for templates
    end_text: str  # text of the token that ends a turn, for templates
    begin_token: int | None  # put before every prompt, None when the model wants none
    embedding_model: str
    embedding_size: int
    embedding_text_tokens: int  # longest text one embedding covers
    embedding_batch_tokens: int  # most tokens in one `embed` call
    embedding_batch_texts: int  # most texts in one `embed` call
    can_share: bool = True  # False: a sequence's state can neither be shared nor cut back
    devices: tuple[DeviceStatus, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    adapters: str = ""  # LoRA adapters in force: file name x scale


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive tokens of one sequence in one step.

    `position` is that of the first token. The logits of the last `outputs` tokens are kept
    until the next `decode`, for `sample`.
    """

    sequence: int
    tokens: list[int]
    position: int
    outputs: int


class Outcome(enum.Enum):
    """How a step ended. All but DONE and BROKEN leave the cache as it was."""

    DONE = "done"
    NO_ROOM = "no_room"  # the cache has no cells left for this batch
    REFUSED = "refused"  # the batch is malformed
    BROKEN = "broken"  # it failed half-way: what the cache holds of the batch is unknown


class Backend(Protocol):
    """One chat model, its KV cache, and maybe an embedding model."""

    @property
    def facts(self) -> Facts: ...

    @property
    def shape(self) -> Shape: ...

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of a text, nothing added. Only with `special` may control tokens appear."""

    def piece(self, token: int) -> bytes:
        """UTF-8 bytes of a token; empty for control tokens."""

    def is_end(self, token: int) -> bool:
        """Whether a model that picks this token has finished its answer."""

    def open(
        self,
        sequence: int,
        sampling: Sampling,
        *,
        seed: int,
        answered: list[int],
        automaton: Automaton | None = None,
    ) -> None:
        """Start sampling for a sequence; `answered` are answer tokens already given (a resume).

        `automaton` is that of the request's grammar, which is read elsewhere: it may take long.
        Raises Invalid when the grammar cannot be followed.
        """

    def decode(self, chunks: list[Chunk]) -> Outcome:
        """Run one step: at most `step_tokens` tokens, each sequence at most once."""

    def sample(self, sequence: int, row: int = 0) -> int:
        """Choose the token after the `row`-th of the sequence's outputs in the last step.

        Rows are sampled in order from 0; each choice becomes part of the sampler's state.
        Raises Invalid when the request's grammar allows no token.
        """

    def logprobs(self, sequence: int) -> TokenLogprob | None:
        """Of the token sampled last, None when the request did not ask for them."""

    def close(self, sequence: int) -> None:
        """Forget a sequence's sampler, not its cells; harmless when it is not open."""

    def share(self, source: int, target: int, tokens: int) -> bool:
        """Let an empty `target` hold the first cells of `source` too.

        False when they are not whole any more; the target is empty then.
        """

    def truncate(self, sequence: int, length: int) -> None:
        """Let go of a sequence's cells from position `length` on; 0 empties it."""

    def save(self, sequence: int) -> Cells | None:
        """A copy of a sequence's cache cells, None when the model cannot give one."""

    def restore(self, sequence: int, cells: Cells, *, tokens: int) -> bool:
        """Put saved cells back; the sequence then holds exactly the first `tokens` tokens of them.

        False leaves it empty: there is no room, the cells are not of this model, or they
        lack something that the next token needs.
        """

    def embedding_tokens(self, text: str, kind: TextKind) -> list[int]:
        """Tokens of a text as the embedding model wants them, cut to its context."""

    def embed(self, texts: list[list[int]], unless: Unless | None = None) -> Vectors:
        """L2-normalised vectors, one row per text. Raises Unavailable when it cannot, and GivenUp
        half-way because `unless`, asked now and then, said so.
        """

    def use_threads(self, threads: int) -> None:
        """Compute with this many CPU threads from the next step on."""

    def shut_down(self) -> None:
        """Free the models. Nothing may be called afterwards."""
