"""The embedding jobs of a worker: taken from `embed:POOL`, answered on `answers:NODE`.

They are not leased: a job lost with its worker is sent once more by who asked.
"""

import asyncio

import msgspec

from appliance import keys
from appliance.bus.client import Bus, ensure_group, hear
from appliance.bus.embeddings import EmbedAnswer, EmbedJob, pack
from appliance.worker import jobs
from appliance.worker.config import WorkerConfig
from appliance.worker.engine import Engine

BLOCK_MS = 10_000
BATCH = 16
JOBS_WAITING = 64
ANSWERS_BOUND = 4_096


class Embedding:
    """Feeds one engine with texts to embed."""

    def __init__(self, bus: Bus, config: WorkerConfig, engine: Engine) -> None:
        self._bus = bus
        self._config = config
        self._engine = engine
        self._jobs: dict[str, EmbedJob] = {}
        self._room = asyncio.Event()

    async def take(self, blocking: Bus) -> None:
        """Takes jobs while few are waiting, until cancelled."""
        stream = keys.embed(self._config.pool)
        await ensure_group(self._bus, stream, keys.WORKERS_GROUP)
        while True:
            while len(self._jobs) >= JOBS_WAITING:
                self._room.clear()
                await self._room.wait()
            rows = await hear(
                blocking,
                stream,
                keys.WORKERS_GROUP,
                self._config.name,
                count=BATCH,
                block_ms=BLOCK_MS,
            )
            for _, fields in rows:
                job = msgspec.msgpack.decode(fields[b"job"], type=EmbedJob)
                self._jobs[job.job_id] = job
                self._engine.embed(
                    jobs.EmbedJob(
                        job_id=job.job_id,
                        texts=job.texts,
                        kind=job.kind,
                        background=job.background,
                    )
                )
            if rows:
                await self._bus.xdel(stream, *(row_id for row_id, _ in rows))

    async def answer(self, output: jobs.Embedded | jobs.EmbedFailed) -> None:
        job = self._jobs.get(output.job_id)
        if job is None:
            return
        if isinstance(output, jobs.Embedded):
            answer = EmbedAnswer(
                job_id=output.job_id, vectors=pack(output.vectors), tokens=output.tokens
            )
        else:
            answer = EmbedAnswer(job_id=output.job_id, error=output.message)
        await self._bus.xadd(
            keys.answers(job.node),
            {"answer": msgspec.msgpack.encode(answer)},
            maxlen=ANSWERS_BOUND,
            approximate=True,
        )
        del self._jobs[output.job_id]
        self._room.set()
