"""The bus side of a worker: steps 7 and 8 of a request.

It takes requests from its own work stream and the shared one while slots are free, hands them to
the engine thread, and writes what comes back. Output is written here, never on the engine thread:
one pipelined write per engine step, for all requests of that step. Everything is written under the
request's lease, which each write and each heartbeat prolong; when one says that the lease is lost,
the sequence is dropped. Writes are repeated until the store is back: a piece carries its number, so
repeating one changes nothing.

A stream entry is acknowledged only after the terminal event is stored, so the entries a dead
worker leaves pending are exactly its unfinished requests (see `background.reaper`).
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec

from appliance import keys
from appliance.bus import leases, scripts, work
from appliance.bus.client import AWAY, Bus, Fields, connect, connect_blocking
from appliance.bus.notices import Notice, notify
from appliance.bus.outage import RETRY_S, Outage, until_back
from appliance.bus.script import Call, run_all
from appliance.bus.texts import emitted_text
from appliance.bus.work import Entry, WorkReader
from appliance.clock import now_ms
from appliance.schema.answers import Usage
from appliance.schema.events import Cancelled, Delta, Event
from appliance.schema.requests import TERMINAL_STATES, Work
from appliance.worker import jobs
from appliance.worker.config import WorkerConfig
from appliance.worker.embeds import Embedding
from appliance.worker.endings import ending, usage
from appliance.worker.engine import Engine
from appliance.worker.held import Job, may_start
from appliance.worker.reporting import Reporting
from appliance.worker.warmup import Warmup

log = logging.getLogger(__name__)

BLOCK_MS = 10_000
WRITE_INTERVAL_S = 0.05  # an answer that has begun is written so often at most: eyes see no more

T = TypeVar("T")


class Server:
    """Feeds one engine from the bus. `run` ends when `stop` was called and the slots are empty."""

    def __init__(self, config: WorkerConfig, engine: Engine) -> None:
        self.worker_id = f"{config.name}.{secrets.token_hex(4)}"
        self._config = config
        self._engine = engine
        self._bus = connect(config.redis_url, connections=8)
        self._reporting = Reporting(self._bus, config, engine, self.worker_id)
        self._jobs: dict[str, Job] = {}
        self._embedding = Embedding(self._bus, config, engine)
        self._warmup = Warmup(self._bus, config, engine, is_idle=lambda: not self._jobs)
        self._outputs: asyncio.Queue[list[jobs.Output]] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = asyncio.Event()
        self._outage = Outage(log)
        self._heard = ""  # the last entry of the control stream

    def emit(self, outputs: list[jobs.Output]) -> None:
        """Takes one step's outputs; call it on the event loop's thread."""
        self._outputs.put_nowait(outputs)

    def stop(self) -> None:
        """Take nothing more; end when what runs has ended."""
        self._stopping.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Serves until stopped. `ready` is called once the first report is stored."""
        await self._until_back(self._reporting.arrive)
        ready()
        taking = [self._take, self._warmup.take]
        if self._engine.facts.embedding_size:
            taking.append(self._embedding.take)
        loops = [*taking, self._listen, self._report]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._repeat(loop), name=loop.__name__) for loop in loops]
            emitting = group.create_task(self._emit_forever(), name="emit")
            await self._stopping.wait()
            for task in tasks[: len(taking)]:
                task.cancel()
            await asyncio.wait(tasks[: len(taking)])
            await self._until(lambda: not any(job.computing for job in self._jobs.values()))
            for task in (*tasks, emitting):
                task.cancel()
        await self._reporting.leave()
        await self._bus.aclose()

    # -- the store may be away at any time

    async def _until_back(self, act: Callable[[], Awaitable[T]]) -> T:
        return await until_back(act, met=self._outage.met)

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Waits for a state that `_room` announces."""
        while not holds():
            self._room.clear()
            await self._room.wait()

    async def _repeat(self, loop: Callable[[Bus], Awaitable[None]]) -> None:
        """Runs a blocking loop on a connection of its own, again after each loss of the store."""
        blocking = connect_blocking(self._config.redis_url)
        try:
            while True:
                try:
                    await self._outage.over(blocking)
                    await loop(blocking)
                except AWAY as error:
                    self._outage.met(error)
                    await blocking.connection_pool.disconnect()
                    await asyncio.sleep(RETRY_S)
        finally:
            await blocking.aclose()

    # -- step 7: take

    async def _take(self, blocking: Bus) -> None:
        reader = WorkReader(self._bus, self._config.pool, self.worker_id)
        await reader.open()
        await self._start_all(await reader.unfinished(blocking, self._config.slots))
        while True:
            await self._until(lambda: len(self._jobs) < self._config.slots)
            free = self._config.slots - len(self._jobs)
            await self._start_all(await reader.read(blocking, free))

    async def _start_all(self, entries: list[Entry]) -> None:
        held = {job.entry for job in self._jobs.values()}
        for entry in entries:
            if entry.name in held or not entry.fields:
                continue
            job = Job(msgspec.json.decode(entry.fields[b"work"], type=Work), entry.name)
            holding = self._jobs.get(job.request_id)
            if holding is not None and await self._until_back(partial(self._is_ours, holding)):
                # A request may stand in the stream twice after a crash; one entry is enough.
                await self._until_back(partial(self._acknowledge, job))
                continue
            if holding is not None:  # it was given back, and comes round before we have noticed
                await self._until_back(partial(self._lose, holding))
            self._jobs[job.request_id] = job
            await self._start(job)

    async def _is_ours(self, job: Job) -> bool:
        """Whether this worker still holds the request, or has ended it."""
        request = keys.request(job.request_id)
        state = await self._bus.hget(request, "state")
        if state == b"running":
            return await self._bus.hget(request, "lease") == job.held.encode()
        return state is None or state.decode() in TERMINAL_STATES

    async def _start(self, job: Job) -> None:
        """Begins a job once it may run beside the others."""
        job.deaths = await self._until_back(partial(self._deaths, job))
        await self._until(
            lambda: may_start(
                job,
                [other for other in self._jobs.values() if other.computing],
                self._config.attempts,
            )
        )
        await self._until_back(partial(self._begin, job))
        await self._until_back(partial(self._tell_taken, job))

    async def _deaths(self, job: Job) -> int:
        return int(await self._bus.hget(keys.request(job.request_id), "deaths") or 0)

    async def _begin(self, job: Job) -> None:
        # Listed before it is taken: what is in the list in vain is found out (`bus.leases`).
        await self._bus.zadd(keys.leases(self._config.pool), {job.request_id: 0}, nx=True)
        model = self._engine.facts.model
        taken = await leases.take(
            self._bus,
            job.request_id,
            self.worker_id,
            entry=job.entry,
            lease_ms=self._config.lease_ms,
            model=model,
        )
        job.attempt = taken.attempt
        job.held = leases.lease(self.worker_id, taken.attempt)
        job.emitted = job.resumed = taken.emitted
        job.keeps_tokens = taken.model == model
        if taken.outcome == "cancel" or (taken.outcome == "taken" and job.unwanted):
            await self._end(job, Cancelled(reason="asked"), "")
        elif taken.outcome == "taken":
            await self._submit(job)  # last: what was submitted must not begin again
        elif taken.outcome == "lost":
            self._drop(job)
        else:  # it has ended, or another worker has it
            await self._forget(job)

    async def _tell_taken(self, job: Job) -> None:
        if job.computing and self._jobs.get(job.request_id) is job:
            await self._reporting.taken(job)

    async def _submit(self, job: Job) -> None:
        """Hands a job to the engine, to go on from what earlier attempts have written."""
        text, tokens = "", b""
        if job.emitted:
            text = await emitted_text(self._bus, job.request_id)
            if job.keeps_tokens:
                tokens = await self._bus.get(keys.tokens(job.request_id)) or b""
        resumed = leases.unpacked(tokens)
        job.tokens = len(resumed)
        self._warmup.give_way()
        job.computing, job.since_step = True, self._engine.status.steps
        remaining_s = (job.work.deadline_at_ms - now_ms()) / 1000
        self._engine.submit(
            jobs.Generation(
                request_id=job.engine_id,
                messages=job.work.messages,
                sampling=job.work.sampling,
                scope=keys.scope(job.work.uid),
                session_id=job.work.session_id,
                resume_text=text,
                resume_tokens=resumed,
                deadline_at_s=time.monotonic() + remaining_s,
            )
        )

    async def _listen(self, blocking: Bus) -> None:
        """Hears what is told to all workers, also what was told while the store was away."""
        stream = keys.control(self._config.pool)
        if not self._heard:
            newest = await blocking.xrevrange(stream, count=1)
            self._heard = newest[0][0].decode() if newest else "0-0"
        await self._warmup.forget_deleted()
        while True:
            for _, rows in await blocking.xread({stream: self._heard}, block=BLOCK_MS):
                for row_id, fields in rows:
                    self._heard = row_id.decode()
                    self._hear(fields)

    def _hear(self, fields: Fields) -> None:
        if b"forget" in fields:
            self._engine.forget(fields[b"forget"].decode())
        if b"forget_scope" in fields:
            self._engine.forget_scope(fields[b"forget_scope"].decode())
        request_id = fields.get(b"cancel", b"").decode()
        job = self._jobs.get(request_id)
        if job is not None:
            job.unwanted = True
            self._engine.cancel(job.engine_id)

    # -- step 8: write

    async def _emit_forever(self) -> None:
        written_at_s = 0.0
        while True:
            outputs = await self._outputs.get()
            early_s = written_at_s + WRITE_INTERVAL_S - time.monotonic()
            if early_s > 0 and all(map(self._can_wait, outputs)):
                await asyncio.sleep(early_s)
            while not self._outputs.empty():
                outputs = outputs + self._outputs.get_nowait()
            written_at_s = time.monotonic()
            pieces = self._joined(outputs)
            if pieces:  # the same calls again change nothing
                calls = [self._append(piece) for piece in pieces]
                written = await self._until_back(partial(run_all, self._bus, calls))
                await self._count(pieces, written)
            for output in outputs:
                if not isinstance(output, jobs.Piece):
                    await self._until_back(partial(self._finish, output))

    def _can_wait(self, output: jobs.Output) -> bool:
        """Whether nobody notices when this is written a moment later, with what follows it."""
        if not isinstance(output, jobs.Piece):
            return False
        job = self._job(output.request_id)
        return job is not None and job.emitted > job.resumed

    def _joined(self, outputs: list[jobs.Output]) -> list[jobs.Piece]:
        """One piece per request for all that these steps brought."""
        found: dict[str, jobs.Piece] = {}
        for output in outputs:
            if isinstance(output, jobs.Piece) and self._job(output.request_id) is not None:
                before = found.get(output.request_id)
                found[output.request_id] = (
                    jobs.Piece(
                        request_id=output.request_id,
                        text=before.text + output.text,
                        tokens=before.tokens + output.tokens,
                        logprobs=before.logprobs + output.logprobs,
                    )
                    if before
                    else output
                )
        return list(found.values())

    def _job(self, engine_id: str) -> Job | None:
        """The job behind an output, unless this worker has lost it since."""
        job = self._jobs.get(engine_id.rpartition(":")[0])
        return job if job is not None and job.engine_id == engine_id else None

    def _append(self, piece: jobs.Piece) -> Call:
        job = self._job(piece.request_id)
        assert job is not None, "joined just now"
        return leases.append(
            job.request_id,
            job.held,
            lease_ms=self._config.lease_ms,
            before=job.emitted,
            deltas=(Delta(text=piece.text, logprobs=piece.logprobs),),
            tokens_before=job.tokens,
            tokens=piece.tokens if job.keeps_tokens else (),
        )

    async def _count(self, pieces: list[jobs.Piece], written: list[int]) -> None:
        at_ms = now_ms()
        for piece, outcome in zip(pieces, written, strict=True):
            job = self._job(piece.request_id)
            if job is None:
                continue
            if outcome != 1:
                await self._until_back(partial(self._lose, job))
                continue
            job.emitted += 1
            job.tokens += len(piece.tokens) if job.keeps_tokens else 0
            if not job.first_token_at_ms:
                job.first_token_at_ms = at_ms
                await self._until_back(partial(self._reporting.began, job))
            if job.deaths and job.proven:
                self._room.set()

    async def _lose(self, job: Job) -> None:
        """Another may have the request by now: nothing of it is written from here any more."""
        log.warning("request %s: lease lost, dropping it", job.request_id)
        self._engine.cancel(job.engine_id)
        state = await self._bus.hget(keys.request(job.request_id), "state")
        if state is None or state.decode() in TERMINAL_STATES:
            await self._forget(job)
        else:
            self._drop(job)  # its entry stays, for whoever gives the request back

    async def _finish(self, output: jobs.Output) -> None:
        if isinstance(output, jobs.Embedded | jobs.EmbedFailed):
            await self._embedding.answer(output)
            return
        if await self._warmup.ended(output.request_id):
            return
        job = self._job(output.request_id)
        if job is None or isinstance(output, jobs.Piece):
            return
        event = ending(job, output, self._config.model_name or self._engine.facts.model)
        if isinstance(output, jobs.Rejected):
            await self._end(job, event, await emitted_text(self._bus, job.request_id))
        else:
            await self._end(job, event, output.text, usage(output))

    async def _end(self, job: Job, event: Event, text: str, spent: Usage | None = None) -> None:
        """Repeated, it changes nothing; without the lease neither."""
        await scripts.end(
            self._bus,
            job.request_id,
            event,
            ttl_s=self._config.reply_ttl_s,
            held=job.held,
            text=text,
            usage=spent,
        )
        state = await self._bus.hget(keys.request(job.request_id), "state")
        if state is not None and state.decode() not in TERMINAL_STATES:
            await self._lose(job)
            return
        notice = Notice(kind="ended", request_id=job.request_id, usage=spent)
        await notify(self._bus, notice)
        await self._forget(job)

    async def _acknowledge(self, job: Job) -> None:
        await work.acknowledge(self._bus, self._config.pool, job.entry)

    async def _forget(self, job: Job) -> None:
        """It has ended here or elsewhere: its entry has done its duty."""
        await self._acknowledge(job)
        if job.computing:
            await self._bus.zrem(keys.leases(self._config.pool), job.request_id)
        self._drop(job)

    def _drop(self, job: Job) -> None:
        if self._jobs.get(job.request_id) is job:
            del self._jobs[job.request_id]
        self._room.set()
        self._warmup.changed()

    # -- who we are

    async def _report(self, _: Bus) -> None:
        while True:
            held = [job for job in self._jobs.values() if job.computing]
            for job in await self._reporting.renew(held):
                if self._jobs.get(job.request_id) is job:
                    await self._lose(job)
            for job in held:
                if job.unwanted:
                    self._engine.cancel(job.engine_id)
            share = await self._reporting.store_status(
                busy=len(self._jobs), draining=self._stopping.is_set()
            )
            self._reporting.follow_threads(share)
            was_idle = not self._jobs
            await asyncio.sleep(self._config.heartbeat_s)
            if was_idle and not self._jobs:  # no lease to prolong, no slot taken
                await asyncio.sleep(self._config.heartbeat_s)
