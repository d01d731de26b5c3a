"""Embedding jobs between steps: which texts go next, and putting the answers together.

The embedding model runs on the engine thread, so what it may take at a time is bounded: a few
texts, so many tokens. Texts that somebody waits for go first and by themselves, the oldest job
before the others. Those of the background (an import) come when there are none, a few at a time,
and are given up in the middle when somebody comes who waits: they begin again, a few times at most.
A failing batch fails the jobs in it, no others.
"""

import logging
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from appliance.worker.backend import Backend, GivenUp, Unless, Vectors
from appliance.worker.jobs import Embedded, EmbedFailed, EmbedJob

log = logging.getLogger(__name__)

BACKGROUND_TOKENS = 64
"""Of a batch in the background; on a CPU a larger one takes as long for each text."""
GIVEN_UP_AT_MOST = 3


@dataclass(slots=True, eq=False)
class _Progress:
    job: EmbedJob
    taken: int = 0
    given_up: int = 0
    tokens: int = 0
    rows: list[Vectors] = field(default_factory=list)


class EmbeddingQueue:
    """Owns the open embedding jobs of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._urgent: deque[_Progress] = deque()
        self._background: deque[_Progress] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._background)

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for what comes next."""
        return bool(self._urgent)

    def add(self, job: EmbedJob) -> None:
        self._queue(job).append(_Progress(job))

    def step(self, budget_tokens: int, unless: Unless) -> list[Embedded | EmbedFailed]:
        """Embed at least one text, more while the budget lasts. Returns the jobs that ended.

        In the background it may give up in the middle when `unless` says so.
        """
        if not self._backend.facts.embedding_size:
            return [
                _failed(one.job, "no_embedding_model", "no embedding model is loaded")
                for one in self._drop([*self._urgent, *self._background])
            ]
        batch: list[_Progress] = []
        try:
            texts = self._take(batch, budget_tokens)
            rows = self._backend.embed(texts, unless if self._may_give_up(batch) else None)
            for one, row, tokens in zip(batch, rows, texts, strict=True):
                one.rows.append(row)
                one.tokens += len(tokens)
                one.given_up = 0
        except GivenUp:
            _give_up(batch)
            return []
        except Exception:
            log.exception("embedding failed")
            return [
                _failed(one.job, "engine_error", "the embedding model failed")
                for one in self._drop(batch)
            ]
        complete = [one for one in batch if len(one.rows) == len(one.job.texts)]
        return [
            Embedded(job_id=one.job.job_id, vectors=np.stack(one.rows), tokens=one.tokens)
            for one in self._drop(complete)
        ]

    def _take(self, batch: list[_Progress], budget_tokens: int) -> list[list[int]]:
        """The next texts as tokens. `batch` gets the job of each, before anything can fail."""
        texts: list[list[int]] = []
        if not self._urgent:
            budget_tokens = min(budget_tokens, BACKGROUND_TOKENS)
        for one in self._urgent or self._background:
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

    def _may_give_up(self, batch: list[_Progress]) -> bool:
        return not self._urgent and all(one.given_up < GIVEN_UP_AT_MOST for one in batch)

    def _queue(self, job: EmbedJob) -> deque[_Progress]:
        return self._background if job.background else self._urgent

    def _drop(self, ended: list[_Progress]) -> list[_Progress]:
        """Forget these jobs; each is returned once."""
        unique = list({id(one): one for one in ended}.values())
        for one in unique:
            self._queue(one.job).remove(one)
        return unique


def _give_up(batch: list[_Progress]) -> None:
    """Each text goes back where it was."""
    for one in batch:
        one.taken -= 1
    for one in {id(one): one for one in batch}.values():
        one.given_up += 1


def _failed(job: EmbedJob, reason: str, message: str) -> EmbedFailed:
    return EmbedFailed(job_id=job.job_id, reason=reason, message=message)
