"""What the benchmark needs of the starter models: vectors, token counts, and answers."""

import queue
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.schema.requests import ChatMessage
from appliance.schema.sampling import Sampling
from appliance.worker.backend import Backend, Shape
from appliance.worker.boot import BackendSettings, build_backend
from appliance.worker.engine import Engine
from appliance.worker.jobs import Finished, Generation, Output, Piece

AT_ONCE = 8
ANSWER_TOKENS = 512
CONTEXT_TOKENS = 2048


def load(chat: Path, embedding: Path) -> Backend:
    return build_backend(
        BackendSettings(
            engine="llama",
            chat_model=chat,
            embedding_model=embedding,
            shape=Shape(
                slots=AT_ONCE,
                context_tokens=CONTEXT_TOKENS,
                cache_tokens=CONTEXT_TOKENS * AT_ONCE,
            ),
        )
    )


def vectors(backend: Backend, texts: Sequence[str]) -> NDArray[np.float64]:
    """Embeddings seen from their middle, of length 1, shape (texts, size)."""
    rows = [backend.embed([backend.embedding_tokens(text, "query")])[0] for text in texts]
    centred = np.array(rows, dtype=np.float64)
    centred -= centred.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    return centred


def token_counts(backend: Backend, texts: Sequence[str]) -> NDArray[np.int64]:
    return np.array([max(1, len(backend.tokenize(text, special=False))) for text in texts])


def answer_lengths(backend: Backend, texts: Sequence[str], *, seed: int) -> NDArray[np.int64]:
    """Tokens of the model's own answers, drawn at temperature 0.7."""
    outputs: queue.SimpleQueue[Output] = queue.SimpleQueue()

    def emit(step: list[Output]) -> None:
        for output in step:
            outputs.put(output)

    engine = Engine(backend, emit=emit, on_fatal=_give_up)
    engine.start()
    for n, text in enumerate(texts):
        engine.submit(
            Generation(
                request_id=str(n),
                messages=(ChatMessage(role="user", content=text),),
                sampling=Sampling(temperature=0.7, seed=seed + n, max_tokens=ANSWER_TOKENS),
            )
        )
    found = np.zeros(len(texts), dtype=np.int64)
    ended = 0
    while ended < len(texts):
        output = outputs.get()
        if isinstance(output, Piece):
            continue
        if not isinstance(output, Finished):
            raise SystemExit(f"an answer did not finish: {output}")
        found[int(output.request_id)] = output.completion_tokens
        ended += 1
    engine.stop()
    engine.join(60.0)
    return found


def _give_up(error: Exception) -> None:
    sys.exit(f"the engine failed: {error}")
