"""The bus side of a worker: steps 7 and 8 of a request.

It takes requests from the work stream while slots are free, hands them to the engine thread, and
writes what comes back. Output is written here, never on the engine thread: one pipelined write per
engine step, for all requests of that step. Everything is written under the request's lease; when
a write says that the lease is lost, the sequence is dropped. Writes are repeated until
the store is back: a piece carries its number, so repeating one changes nothing.

A stream entry is acknowledged only after the terminal event is stored, so the entries a dead
worker leaves pending are exactly its unfinished requests (see `background.reaper`).
"""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec

from appliance import keys
from appliance.bus import scripts
from appliance.bus.client import AWAY, Bus, Fields, connect, connect_blocking, ensure_group
from appliance.bus.embeddings import EmbedAnswer, EmbedJob, pack
from appliance.bus.notices import Notice, notify
from appliance.bus.texts import emitted_text
from appliance.schema import (
    Cancelled,
    Done,
    Event,
    Failed,
    Timings,
    Usage,
    Work,
    WorkerStatus,
)
from appliance.worker import jobs
from appliance.worker.config import WorkerConfig
from appliance.worker.engine import Engine

log = logging.getLogger(__name__)

BLOCK_MS = 10_000
RETRY_S = 0.5
EMBED_BATCH = 16
EMBEDS_WAITING = 64
ANSWERS_BOUND = 4_096

T = TypeVar("T")


@dataclass
class _Job:
    """A request this worker holds."""

    work: Work
    entry_id: bytes
    held: str = ""
    emitted: int = 0
    first_token_at_ms: int = 0
    unwanted: bool = False


class Server:
    """Feeds one engine from the bus. `run` ends when `stop` was called and the slots are empty."""

    def __init__(self, config: WorkerConfig, engine: Engine) -> None:
        self.worker_id = f"{config.name}.{secrets.token_hex(4)}"
        self._config = config
        self._engine = engine
        self._bus = connect(config.redis_url, connections=8)
        self._jobs: dict[str, _Job] = {}
        self._embeds: dict[str, EmbedJob] = {}
        self._outputs: asyncio.Queue[list[jobs.Output]] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = asyncio.Event()

    def emit(self, outputs: list[jobs.Output]) -> None:
        """Takes one step's outputs; call it on the event loop's thread."""
        self._outputs.put_nowait(outputs)

    def stop(self) -> None:
        """Take nothing more; end when what runs has ended."""
        self._stopping.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Serves until stopped. `ready` is called once the first report is stored."""
        await self._until_back(self._register)
        ready()
        taking = [self._take]
        if self._engine.facts.embedding_size:
            taking.append(self._take_embeds)
        loops = [*taking, self._listen, self._report]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._repeat(loop), name=loop.__name__) for loop in loops]
            emitting = group.create_task(self._emit_forever(), name="emit")
            await self._stopping.wait()
            for task in tasks[: len(taking)]:
                task.cancel()
            while self._jobs:
                self._room.clear()
                await self._room.wait()
            for task in (*tasks, emitting):
                task.cancel()
        await self._leave()
        await self._bus.aclose()

    # -- the store may be away at any time

    async def _until_back(self, act: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await act()
            except AWAY as error:
                log.warning("store away (%s), trying again", error)
                await asyncio.sleep(RETRY_S)

    async def _repeat(self, loop: Callable[[Bus], Awaitable[None]]) -> None:
        """Runs a blocking loop on a connection of its own, again after each loss of the store."""
        blocking = connect_blocking(self._config.redis_url)
        try:
            while True:
                try:
                    await loop(blocking)
                except AWAY as error:
                    log.warning("store away (%s), trying again", error)
                    await blocking.connection_pool.disconnect()
                    await asyncio.sleep(RETRY_S)
        finally:
            await blocking.aclose()

    # -- step 7: take

    async def _take(self, blocking: Bus) -> None:
        stream = keys.work(self._config.pool)
        await ensure_group(self._bus, stream, keys.WORKERS_GROUP)
        while True:
            await self._room.wait()
            free = self._config.slots - len(self._jobs)
            if free <= 0:
                self._room.clear()
                continue
            found = await blocking.xreadgroup(
                keys.WORKERS_GROUP, self.worker_id, {stream: ">"}, count=free, block=BLOCK_MS
            )
            for entry_id, fields in found[0][1] if found else ():
                job = _Job(msgspec.json.decode(fields[b"work"], type=Work), entry_id)
                # A request may stand in the stream twice after a crash; one entry is enough.
                if self._jobs.setdefault(job.work.request_id, job) is job:
                    await self._until_back(partial(self._begin, job))
                else:
                    await self._until_back(partial(self._acknowledge, job))

    async def _begin(self, job: _Job) -> None:
        request_id = job.work.request_id
        taken = await scripts.take(self._bus, request_id, self.worker_id)
        if taken.outcome == "running" and not job.held:
            # Our own TAKE, repeated after its reply was lost, or another worker's request.
            lease = await self._bus.hget(keys.request(request_id), "lease") or b""
            if lease.decode().startswith(f"{self.worker_id}:"):
                taken = scripts.Taken("taken", int(lease.rpartition(b":")[2]))
        job.held = scripts.lease(self.worker_id, taken.attempt)
        if taken.outcome == "cancel" or (taken.outcome == "taken" and job.unwanted):
            await self._end(job, Cancelled(reason="asked"), "")
        elif taken.outcome == "taken":
            resume = ""
            if taken.attempt > 1:
                resume = await emitted_text(self._bus, request_id)
                job.emitted = int(await self._bus.hget(keys.request(request_id), "emitted") or 0)
            remaining_s = (job.work.deadline_at_ms - time.time_ns() // 1_000_000) / 1000
            self._engine.submit(
                jobs.Generation(
                    request_id=request_id,
                    messages=job.work.messages,
                    sampling=job.work.sampling,
                    resume_text=resume,
                    deadline_at_s=time.monotonic() + remaining_s,
                )
            )
        else:  # it has ended, or another worker has it
            await self._forget(job)

    async def _take_embeds(self, blocking: Bus) -> None:
        stream = keys.embed(self._config.pool)
        await ensure_group(self._bus, stream, keys.WORKERS_GROUP)
        while True:
            if len(self._embeds) >= EMBEDS_WAITING:
                self._room.clear()
                await self._room.wait()
                continue
            found = await blocking.xreadgroup(
                keys.WORKERS_GROUP,
                self.worker_id,
                {stream: ">"},
                count=EMBED_BATCH,
                block=BLOCK_MS,
                noack=True,
            )
            rows = found[0][1] if found else []
            for _, fields in rows:
                job = msgspec.msgpack.decode(fields[b"job"], type=EmbedJob)
                self._embeds[job.job_id] = job
                self._engine.embed(jobs.EmbedJob(job_id=job.job_id, texts=job.texts, kind=job.kind))
            if rows:
                await self._bus.xdel(stream, *(row_id for row_id, _ in rows))

    async def _listen(self, blocking: Bus) -> None:
        """Hears what is told to all workers."""
        stream = keys.control(self._config.pool)
        newest = await blocking.xrevrange(stream, count=1)
        cursor = newest[0][0].decode() if newest else "0-0"
        while True:
            for _, rows in await blocking.xread({stream: cursor}, block=BLOCK_MS):
                for row_id, fields in rows:
                    cursor = row_id.decode()
                    self._hear(fields)

    def _hear(self, fields: Fields) -> None:
        request_id = fields.get(b"cancel", b"").decode()
        job = self._jobs.get(request_id)
        if job is not None:
            job.unwanted = True
            self._engine.cancel(request_id)

    # -- step 8: write

    async def _emit_forever(self) -> None:
        while True:
            outputs = await self._outputs.get()
            while not self._outputs.empty():
                outputs = outputs + self._outputs.get_nowait()
            await self._until_back(partial(self._append, outputs))
            for output in outputs:
                await self._until_back(partial(self._finish, output))

    async def _append(self, outputs: list[jobs.Output]) -> None:
        """All new text of these steps, in one round trip."""
        texts: dict[str, list[str]] = {}
        for output in outputs:
            if isinstance(output, jobs.Piece) and output.request_id in self._jobs:
                texts.setdefault(output.request_id, []).append(output.text)
        if not texts:
            return
        pipeline = self._bus.pipeline(transaction=False)
        for request_id, pieces in texts.items():
            job = self._jobs[request_id]
            scripts.queue_append(
                pipeline, request_id, job.held, before=job.emitted, texts=["".join(pieces)]
            )
        written = await pipeline.execute()
        now_ms = time.time_ns() // 1_000_000
        for request_id, held in zip(texts, written, strict=True):
            job = self._jobs[request_id]
            job.emitted += 1
            job.first_token_at_ms = job.first_token_at_ms or now_ms
            if not held:
                log.warning("request %s: lease lost, dropping it", request_id)
                self._engine.cancel(request_id)
                await self._forget(job)

    async def _finish(self, output: jobs.Output) -> None:
        match output:
            case jobs.Embedded(job_id=job_id, vectors=vectors):
                await self._answer_embed(EmbedAnswer(job_id=job_id, vectors=pack(vectors)))
                return
            case jobs.EmbedFailed(job_id=job_id, message=message):
                await self._answer_embed(EmbedAnswer(job_id=job_id, error=message))
                return
        job = self._jobs.get(output.request_id)
        if job is None:
            return
        match output:
            case jobs.Finished():
                usage = _usage(output)
                done = Done(
                    finish_reason=output.finish_reason,
                    model=self._engine.facts.model,
                    usage=usage,
                    timings=_timings(job, output),
                )
                await self._end(job, done, output.text, usage)
            case jobs.Stopped(reason="cancelled"):
                usage = _usage(output)
                await self._end(job, Cancelled(reason="asked", usage=usage), output.text, usage)
            case jobs.Stopped():
                failed = Failed(
                    code="overloaded",
                    reason="deadline",
                    message="the answer was not finished before its deadline",
                    hint="ask for less, or raise requests.deadline_s",
                )
                await self._end(job, failed, output.text, _usage(output))
            case jobs.Rejected(reason=reason, message=message, hint=hint):
                code = "invalid" if reason == "context_overflow" else "internal"
                failed = Failed(code=code, reason=reason, message=message, hint=hint)
                await self._end(job, failed, await emitted_text(self._bus, output.request_id))

    async def _answer_embed(self, answer: EmbedAnswer) -> None:
        job = self._embeds.pop(answer.job_id, None)
        self._room.set()
        if job is not None:
            await self._bus.xadd(
                keys.answers(job.node),
                {"answer": msgspec.msgpack.encode(answer)},
                maxlen=ANSWERS_BOUND,
                approximate=True,
            )

    async def _end(self, job: _Job, event: Event, text: str, usage: Usage | None = None) -> None:
        await scripts.end(
            self._bus,
            job.work.request_id,
            event,
            ttl_s=self._config.reply_ttl_s,
            held=job.held,
            text=text,
            usage=usage,
        )
        await notify(self._bus, Notice(kind="ended", request_id=job.work.request_id))
        await self._forget(job)

    async def _acknowledge(self, job: _Job) -> None:
        stream = keys.work(self._config.pool)
        await self._bus.xack(stream, keys.WORKERS_GROUP, job.entry_id)
        await self._bus.xdel(stream, job.entry_id)

    async def _forget(self, job: _Job) -> None:
        await self._acknowledge(job)
        self._jobs.pop(job.work.request_id, None)
        self._room.set()

    # -- who we are

    async def _register(self) -> None:
        await self._store_status()
        await notify(self._bus, Notice(kind="workers"))

    async def _report(self, _: Bus) -> None:
        while True:
            await self._store_status()
            await asyncio.sleep(self._config.heartbeat_s)

    async def _store_status(self) -> None:
        facts, status = self._engine.facts, self._engine.status
        fields = msgspec.to_builtins(
            WorkerStatus(
                id=self.worker_id,
                engine=facts.engine,
                model=facts.model,
                embedding_model=facts.embedding_model,
                device=facts.device,
                slots=self._config.slots,
                busy=len(self._jobs),
                context_tokens=self._config.context_tokens,
                tokens_per_s=round(status.tokens_per_s, 1),
                embedding_size=facts.embedding_size,
                pid=os.getpid(),
            )
        )
        name = keys.worker(self.worker_id)
        await self._bus.hset(name, mapping=fields)
        await self._bus.expire(name, max(1, round(self._config.lost_after_s)))
        await self._bus.zadd(keys.WORKERS, {self.worker_id: time.time_ns() // 1_000_000})

    async def _leave(self) -> None:
        with contextlib.suppress(*AWAY):
            await self._bus.zrem(keys.WORKERS, self.worker_id)
            await self._bus.delete(keys.worker(self.worker_id))
            await notify(self._bus, Notice(kind="workers"))


def _usage(ended: jobs.Finished | jobs.Stopped) -> Usage:
    return Usage(
        prompt_tokens=ended.prompt_tokens,
        completion_tokens=ended.completion_tokens,
        total_tokens=ended.prompt_tokens + ended.completion_tokens,
    )


def _timings(job: _Job, ended: jobs.Finished) -> Timings:
    work = job.work
    new_tokens = ended.completion_tokens - ended.resumed_tokens
    return Timings(
        admitted_ms=work.admitted_at_ms - work.created_at_ms,
        first_token_ms=max(0, job.first_token_at_ms - work.created_at_ms),
        total_ms=time.time_ns() // 1_000_000 - work.created_at_ms,
        tokens_per_s=round(new_tokens / ended.decode_s, 1) if ended.decode_s > 0 else 0.0,
    )
