"""What goes into the engine and what comes out of it.

Every `Generation` leaves the engine with exactly one of `Finished`, `Stopped` or `Rejected`,
every `EmbedJob` with exactly one of `Embedded` or `EmbedFailed` (unless the engine is stopped
first). The texts of all `Piece`s of a request, put after its `resume_text`, are the text of
its `Finished` or `Stopped`.

Times are seconds; `deadline_at_s` is on the engine's monotonic clock.
"""

import math
from dataclasses import dataclass
from typing import Literal

from appliance.schema.events import TokenLogprob
from appliance.schema.requests import ChatMessage
from appliance.schema.sampling import Sampling
from appliance.worker.backend import TextKind, Vectors

FinishReason = Literal["stop", "length"]
StopReason = Literal["cancelled", "deadline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One answer to make. `resume_text` is what a lost worker had already given of it.

    `resume_tokens` are the tokens that worker had sampled up to there, the last of them perhaps
    not shown in full yet; without them the text is tokenised anew.

    `scope` is whose text it is: what is computed for it is reused for the same scope only, except
    for what the messages mark as public. An empty scope reuses nothing private.

    With `prefill_only` nothing is answered: the prompt is computed up to where the text of its
    last message would begin, in small steps, and stays warm for the session.

    With `is_bare` the text of its messages is the whole prompt, without the model's template.
    """

    request_id: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    scope: str = ""
    session_id: str = ""
    prefill_only: bool = False
    is_bare: bool = False
    resume_text: str = ""
    resume_tokens: tuple[int, ...] = ()
    deadline_at_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedJob:
    """Texts to embed. Texts longer than the embedding model's context are cut.

    In the `background`, for an import, nobody waits for them: all others go first.
    """

    job_id: str
    texts: tuple[str, ...]
    kind: TextKind
    background: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """New text of an answer, whole characters only, never part of a stop string.

    `tokens` are those sampled since the piece before. What of them is not in the text yet is
    held back, and comes out of them again when another worker goes on from here.
    `logprobs`, where asked for, are those of the tokens whose text begins in it.
    """

    request_id: str
    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """`text` is the whole answer with its resumed part.

    `completion_tokens` counts the whole answer, `resumed_tokens` the part that was given,
    `cached_tokens` the part of the prompt that did not have to be computed. `cut_turns` turns of
    the conversation were left out of the prompt.
    `first_token_s` is from arrival in the engine to the first new token (0 when there was
    none), `decode_s` from there to the end.
    """

    request_id: str
    text: str
    prompt_tokens: int
    completion_tokens: int
    resumed_tokens: int
    cached_tokens: int
    cut_turns: int
    first_token_s: float
    decode_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(_Ended):
    """The model ended its answer or met a stop string ("stop"), or ran out of tokens."""

    finish_reason: FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(_Ended):
    """Ended from outside, with what there was."""

    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """No answer, or no more of it. `reason`: context_overflow, grammar, no_room or engine_error."""

    request_id: str
    reason: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """`vectors` has one L2-normalised float32 row per text of the job; `tokens` is their
    sum over the texts."""

    job_id: str
    vectors: Vectors
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedFailed:
    """`reason`: no_embedding_model or engine_error."""

    job_id: str
    reason: str
    message: str


Output = Piece | Finished | Stopped | Rejected | Embedded | EmbedFailed
