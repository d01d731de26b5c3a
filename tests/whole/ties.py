"""Shows that two greedy answers part only where the model itself was nearly undecided.

Kernels round differently with each shape of a batch. The scores of both tokens are computed alone,
one prompt at a time, from the prompt that the product makes of the question.
"""

import datetime
import itertools
from dataclasses import dataclass

import numpy as np
import platformdirs
from llama_cpp import llama_cpp as binding

from appliance.access.prompt import session_prompt, system_message
from appliance.schema.people import User
from appliance.schema.sampling import Sampling
from appliance.settings import Settings
from appliance.worker.backend import Chunk, Outcome, Shape
from appliance.worker.boot import BackendSettings, build_backend
from appliance.worker.jobs import Generation
from appliance.worker.llama import LlamaBackend
from appliance.worker.prompts import PromptMaker

NEAR_TIE = 0.5  # of logits; a choice that is none has some 2 and more
STEP_TOKENS = 256

NOBODY = User(id="local", attributes={}, tags=(), version=0)


@dataclass(frozen=True)
class Tie:
    """The logits of the two tokens at the place where the answers part, and the largest of all."""

    after_tokens: int
    one: float
    other: float
    best: float

    @property
    def near(self) -> bool:
        return self.best - min(self.one, self.other) < NEAR_TIE

    def __str__(self) -> str:
        return (
            f"after {self.after_tokens} tokens, logits {self.one:.3f} and {self.other:.3f}, "
            f"the best of all {self.best:.3f}"
        )


class Judge:
    """Holds the starter model."""

    def __init__(self) -> None:
        folder = platformdirs.user_cache_path("sluice") / "models"
        (model,) = folder.glob("qwen2.5-coder-0.5b-instruct*.gguf")
        settings = BackendSettings(
            engine="llama",
            chat_model=model,
            shape=Shape(slots=1, context_tokens=2048, cache_tokens=2048, step_tokens=STEP_TOKENS),
            threads=1,
        )
        backend = build_backend(settings)
        assert isinstance(backend, LlamaBackend)
        self._backend = backend

    def tie(self, question: str, one: str, other: str) -> Tie:
        """Where two answers to a question part."""
        prompt = session_prompt(
            system_message(Settings().prompt.system, (), NOBODY),
            (),
            question,
            (),
            today=datetime.datetime.now(tz=datetime.UTC).astimezone().date(),
        )
        generation = Generation(
            request_id="a", messages=prompt.messages, sampling=Sampling(temperature=0)
        )
        first, second = (self._backend.tokenize(text, special=False) for text in (one, other))
        pairs = itertools.takewhile(lambda p: p[0] == p[1], zip(first, second, strict=False))
        at = sum(1 for _ in pairs)
        tokens = PromptMaker(self._backend).prepare(generation).tokens + first[:at]
        logits = self._logits(tokens)
        ends = [token for token in range(len(logits)) if self._backend.is_end(token)]
        a, b = (
            max(float(logits[token]) for token in answer[at : at + 1] or ends)
            for answer in (first, second)
        )
        return Tie(at, a, b, float(logits.max()))

    def _logits(self, tokens: list[int]) -> "np.typing.NDArray[np.float32]":
        for start in range(0, len(tokens), STEP_TOKENS):
            part = tokens[start : start + STEP_TOKENS]
            assert self._backend.decode([Chunk(0, part, start, 1)]) is Outcome.DONE
        row = binding.llama_get_logits_ith(self._backend._context, len(part) - 1)
        shape = (self._backend._model.vocabulary_size,)
        logits = np.ctypeslib.as_array(row, shape=shape).copy()
        self._backend.truncate(0, 0)
        return logits
