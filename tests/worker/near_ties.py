"""Shows that two greedy answers of a real model part only where two tokens are nearly equal.

Batched kernels round differently with each shape of a step. So answers may part, but where they
do, the model itself must have been undecided: both tokens' logits, computed alone, are close.
"""

import itertools

import numpy as np
from llama_cpp import llama_cpp as binding
from worker_bench import Kind, Run

from appliance.worker.backend import Chunk, Outcome
from appliance.worker.jobs import Generation, Piece
from appliance.worker.llama import LlamaBackend
from appliance.worker.prompts import PromptMaker

NEAR_TIE = 0.3  # of logits; a choice that is none has some 2 and more
ENDS = "<|im_end|><|endoftext|><end_of_turn><eos>"
PROBE = 0  # any sequence will do: engines leave an empty cache behind


def assert_equal_up_to_a_tie(kind: Kind, job: Generation, one: Run, other: Run) -> None:
    """Both runs answered `job`, greedily."""
    id_ = job.request_id
    if kind.exact or one.finished(id_).text == other.finished(id_).text:
        assert one.finished(id_).text == other.finished(id_).text
        return
    first, second = _tokens(one, id_), _tokens(other, id_)
    parting = sum(
        1
        for _ in itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(first, second, strict=False)
        )
    )
    prompt = PromptMaker(kind.backend).prepare(job).tokens
    logits = _logits(kind, prompt + first[:parting])
    a, b = (_logit(kind, logits, tokens[parting : parting + 1]) for tokens in (first, second))
    assert abs(a - b) < NEAR_TIE, f"after {parting} tokens, logits {a:.3f} and {b:.3f}"
    assert min(a, b) >= logits.max() - NEAR_TIE


def _tokens(run: Run, request_id: str) -> list[int]:
    pieces = [one for one in run.all() if isinstance(one, Piece) and one.request_id == request_id]
    return [token for piece in pieces for token in piece.tokens]


def _logit(kind: Kind, logits: "np.typing.NDArray[np.float32]", token: list[int]) -> float:
    """Of a token, or of the likeliest end token where the answer was over."""
    ends = [t for t in kind.backend.tokenize(ENDS, special=True) if kind.backend.is_end(t)]
    return float(max(logits[one] for one in token or ends))


def _logits(kind: Kind, tokens: list[int]) -> "np.typing.NDArray[np.float32]":
    backend = kind.backend
    assert isinstance(backend, LlamaBackend)
    for start in range(0, len(tokens), backend.shape.step_tokens):
        part = tokens[start : start + backend.shape.step_tokens]
        assert backend.decode([Chunk(PROBE, part, start, 1)]) is Outcome.DONE
    pointer = binding.llama_get_logits_ith(backend._context, len(part) - 1)
    size = backend._model.vocabulary_size
    logits = np.ctypeslib.as_array(pointer, shape=(size,)).copy()
    backend.truncate(PROBE, 0)
    return logits
