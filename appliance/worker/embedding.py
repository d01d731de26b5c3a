"""Embedding jobs between steps: which texts go next, and putting the answers together.

The embedding model runs on the engine thread, so what it may take at a time is bounded: a few
texts, so many tokens. Questions (somebody waits for them) go before passages (an import), and
within each kind the oldest job goes first. A failing batch fails the jobs in it, no others.
"""

import logging
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from appliance.worker.backend import Backend, TextKind, Vectors
from appliance.worker.jobs import Embedded, EmbedFailed, EmbedJob

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Progress:
    job: EmbedJob
    taken: int = 0
    rows: list[Vectors] = field(default_factory=list)


class EmbeddingQueue:
    """Owns the open embedding jobs of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting: dict[TextKind, deque[_Progress]] = {"query": deque(), "passage": deque()}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, job: EmbedJob) -> None:
        self._waiting[job.kind].append(_Progress(job))

    def step(self, budget_tokens: int) -> list[Embedded | EmbedFailed]:
        """Embed at least one text, more while the budget lasts. Returns the jobs that ended."""
        if not self._backend.facts.embedding_size:
            return [
                _failed(one.job, "no_embedding_model", "no embedding model is loaded")
                for one in self._drop([*self._waiting["query"], *self._waiting["passage"]])
            ]
        batch: list[_Progress] = []
        try:
            texts = self._take(batch, budget_tokens)
            for one, row in zip(batch, self._backend.embed(texts), strict=True):
                one.rows.append(row)
        except Exception:
            log.exception("embedding failed")
            return [
                _failed(one.job, "engine_error", "the embedding model failed")
                for one in self._drop(batch)
            ]
        complete = [one for one in batch if len(one.rows) == len(one.job.texts)]
        return [
            Embedded(job_id=one.job.job_id, vectors=np.stack(one.rows))
            for one in self._drop(complete)
        ]

    def _take(self, batch: list[_Progress], budget_tokens: int) -> list[list[int]]:
        """The next texts as tokens. `batch` gets the job of each, before anything can fail."""
        texts: list[list[int]] = []
        for one in (*self._waiting["query"], *self._waiting["passage"]):
            for text in one.job.texts[one.taken :]:
                if len(texts) == self._backend.facts.embedding_batch_texts:
                    return texts
                batch.append(one)
                tokens = self._backend.embedding_tokens(text, one.job.kind)
                if texts and len(tokens) > budget_tokens:
                    batch.pop()
                    return texts
                texts.append(tokens)
                budget_tokens -= len(tokens)
                one.taken += 1
        return texts

    def _drop(self, ended: list[_Progress]) -> list[_Progress]:
        """Forget these jobs; each is returned once."""
        unique = list({id(one): one for one in ended}.values())
        for one in unique:
            self._waiting[one.job.kind].remove(one)
        return unique


def _failed(job: EmbedJob, reason: str, message: str) -> EmbedFailed:
    return EmbedFailed(job_id=job.job_id, reason=reason, message=message)
