"""Embeddings over the bus: a worker computes them beside its chat model.

A job goes to `embed:POOL`; whichever worker takes it answers on `answers:NODE`, which this
process's one blocking reader passes on. A job lost with its worker is sent once more.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from appliance import keys
from appliance.bus.client import AWAY, Bus, Fields
from appliance.bus.replies import ReplyReader
from appliance.errors import Invalid, Unavailable
from appliance.schema.fields import Record
from appliance.schema.status import WorkerStatus

EmbeddingKind = Literal["query", "passage"]

JOBS_BOUND = 4_096
ATTEMPTS = 2
ATTEMPT_TIMEOUT_S = 30.0
BACKGROUND_TIMEOUT_S = 120.0
"""For those who give way to everybody else."""


class EmbedJob(Record, frozen=True, kw_only=True):
    """Texts for a worker. The answer goes to `answers:{node}` under `job_id`.

    Nobody waits for those in the `background`: all others go first.
    """

    job_id: str
    node: str
    kind: EmbeddingKind
    texts: tuple[str, ...]
    background: bool = False


class EmbedAnswer(Record, frozen=True, kw_only=True):
    """`vectors` is float32, little-endian, row after row; `tokens` were read for them. `error` is
    empty when all went well."""

    job_id: str
    vectors: bytes = b""
    tokens: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Vectors:
    """One row per text, and how many tokens the model read for all of them."""

    rows: Sequence[Sequence[float]]
    tokens: int


def pack(vectors: npt.NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(vectors, dtype="<f4").tobytes()


class Embedder:
    """Embeds texts with the workers' embedding model. `stamp` names the model, `size` its width.

    Both are known once a worker has reported; until then `embed` raises Unavailable.
    """

    def __init__(self, bus: Bus, replies: ReplyReader, *, pool: str, node: str) -> None:
        self._bus = bus
        self._pool = pool
        self._node = node
        self._pending: dict[str, asyncio.Future[EmbedAnswer]] = {}
        self.stamp = ""
        self.size = 0
        replies.on_answer(self._take)

    def known(self, status: WorkerStatus) -> None:
        """A worker has reported which embedding model it runs."""
        self.stamp, self.size = status.embedding_model, status.embedding_size

    async def embed(
        self, texts: Sequence[str], *, kind: EmbeddingKind, background: bool = False
    ) -> Sequence[Sequence[float]]:
        """One vector per text, each of `size` floats with length 1; in the `background` after
        whatever else there is to compute.

        Raises Unavailable when no worker answers, Invalid when the worker refuses the texts.
        """
        return (await self.counted(texts, kind=kind, background=background)).rows

    async def counted(
        self, texts: Sequence[str], *, kind: EmbeddingKind, background: bool = False
    ) -> Vectors:
        """What `embed` gives, with its tokens."""
        if not self.size:
            raise Unavailable(
                "no worker with an embedding model is running",
                hint="try again soon",
                reason="no_embedding_worker",
            )
        if not texts:
            return Vectors([], 0)
        for _ in range(ATTEMPTS):
            answer = await self._ask(tuple(texts), kind, background=background)
            if answer is None:
                continue
            if answer.error:
                raise Invalid(
                    f"the texts cannot be embedded: {answer.error}",
                    reason="not_embeddable",
                    facts={"detail": answer.error},
                )
            rows = np.frombuffer(answer.vectors, dtype="<f4").reshape(len(texts), -1)
            return Vectors([[float(x) for x in row] for row in rows], answer.tokens)
        raise Unavailable(
            "the embedding model does not answer",
            hint="see `sluice doctor`",
            reason="embedding_silent",
        )

    async def _ask(
        self, texts: tuple[str, ...], kind: EmbeddingKind, *, background: bool
    ) -> EmbedAnswer | None:
        job = EmbedJob(
            job_id=secrets.token_hex(8),
            node=self._node,
            kind=kind,
            texts=texts,
            background=background,
        )
        future: asyncio.Future[EmbedAnswer] = asyncio.get_running_loop().create_future()
        self._pending[job.job_id] = future
        try:
            async with asyncio.timeout(BACKGROUND_TIMEOUT_S if background else ATTEMPT_TIMEOUT_S):
                await self._bus.xadd(
                    keys.embed(self._pool),
                    {"job": msgspec.msgpack.encode(job)},
                    maxlen=JOBS_BOUND,
                    approximate=True,
                )
                return await future
        except TimeoutError:
            return None
        except AWAY as error:
            raise Unavailable(
                "the message store is away", hint="try again soon", reason="store_away"
            ) from error
        finally:
            self._pending.pop(job.job_id, None)

    def _take(self, fields: Fields) -> None:
        answer = msgspec.msgpack.decode(fields[b"answer"], type=EmbedAnswer)
        future = self._pending.get(answer.job_id)
        if future is not None and not future.done():
            future.set_result(answer)
