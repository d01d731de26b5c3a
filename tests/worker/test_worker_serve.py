"""The bus side of a worker, on the engine without a model and a real store."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from worker_bench import SMALL

from appliance import keys
from appliance.bus import leases, scripts, work
from appliance.bus.client import AWAY, Bus, connect_blocking, ensure_group
from appliance.bus.texts import emitted_text
from appliance.schema.events import Admitted, Received
from appliance.schema.requests import ChatMessage, Request, Work
from appliance.schema.sampling import Sampling
from appliance.worker import serve
from appliance.worker.boot import BackendSettings, build_backend
from appliance.worker.config import WorkerConfig
from appliance.worker.engine import Engine
from appliance.worker.held import Job
from appliance.worker.jobs import Generation, Output
from appliance.worker.reporting import Reporting
from appliance.worker.serve import Server

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0
QUESTION = ChatMessage(role="user", content="#tokens=20 #slow=20 tell me about the canteen")


def config(valkey_url: str) -> WorkerConfig:
    return WorkerConfig(
        name="w",
        redis_url=valkey_url,
        pool=keys.MAIN,
        engine="fake",
        model_name="m",
        chat_model="",
        embedding_model="",
        slots=2,
        warm_sequences=2,
        warm_tokens=1024,
        gap_ms=1000,
        kept_pace=0.0,
        draft_tokens=0,
        context_tokens=SMALL.context_tokens,
        cache_tokens=SMALL.cache_tokens,
        step_tokens=SMALL.step_tokens,
        threads=1,
        gpu_layers=0,
        heartbeat_s=60.0,
        lost_after_s=120.0,
        lease_s=120.0,
        wedged_after_s=60.0,
        probe_idle_s=60.0,
        attempts=2,
        reply_ttl_s=60,
        drain_timeout_s=10.0,
        log_level="info",
    )


class Counted(Engine):
    """Knows what it was given."""

    given: tuple[Generation, ...] = ()
    forgotten: tuple[str, ...] = ()

    def submit(self, generation: Generation) -> None:
        self.given += (generation,)
        super().submit(generation)

    def forget_scope(self, scope: str) -> None:
        self.forgotten += (scope,)
        super().forget_scope(scope)


class Rig:
    """One server with its engine."""

    def __init__(self, bus: Bus, valkey_url: str) -> None:
        self.bus = bus
        loop = asyncio.get_running_loop()

        def emit(outputs: list[Output]) -> None:
            loop.call_soon_threadsafe(self.server.emit, outputs)

        backend = build_backend(BackendSettings(engine="fake", shape=SMALL))
        self.engine = Counted(backend, emit=emit, on_fatal=lambda error: None)
        self.server = Server(config(valkey_url), self.engine)
        self.engine.start()

    async def last_event(self, request_id: str) -> str:
        """Waits for its end."""
        cursor = "0-0"
        while True:
            ((_, rows),) = await self.bus.xread({keys.reply(request_id): cursor}, block=10_000)
            for row_id, fields in rows:
                cursor = row_id.decode()
                if (event := fields[b"event"].decode()) not in ("received", "admitted", "delta"):
                    return str(event)


async def ask(bus: Bus) -> Work:
    """A request that any worker may take."""
    request = Request(
        id=keys.new_request_id(),
        uid="u",
        text=QUESTION.content,
        sampling=Sampling(temperature=0),
        created_at_ms=1,
        deadline_at_ms=2**52,
    )
    received = Received(request_id=request.id, session_id="", created_at_ms=1)
    await scripts.submit(bus, request, received, turns_kept=1)
    admitted = Admitted(waited_ms=0)
    await scripts.tell(bus, request.id, admitted, while_state="waiting", new_state="queued")
    ready = Work(
        request_id=request.id,
        uid="u",
        session_id="",
        messages=(QUESTION,),
        sampling=request.sampling,
        created_at_ms=1,
        admitted_at_ms=1,
        deadline_at_ms=request.deadline_at_ms,
    )
    await work.hand_over(bus, keys.MAIN, request.id, msgspec.json.encode(ready))
    return ready


@pytest.fixture
async def rig(bus: Bus, valkey_url: str) -> AsyncIterator[Rig]:
    await ensure_group(bus, keys.work(keys.MAIN), keys.WORKERS_GROUP)
    rig = Rig(bus, valkey_url)
    ready = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(rig.server.run(ready.set))
        await ready.wait()
        yield rig
        rig.server.stop()
    rig.engine.stop()
    rig.engine.join(PATIENCE_S)


async def test_what_was_submitted_does_not_begin_again_when_the_store_goes_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    tell = Reporting.taken

    async def flaky(self: Reporting, job: Job) -> None:
        told.append(job.request_id)
        if len(told) == 1:
            raise AWAY[0]
        await tell(self, job)

    monkeypatch.setattr(Reporting, "taken", flaky)
    monkeypatch.setattr(serve, "RETRY_S", 0.0)
    request_id = (await ask(rig.bus)).request_id
    assert await rig.last_event(request_id) == "done"
    assert len(rig.engine.given) == 1
    assert "tell me about the canteen" in await emitted_text(rig.bus, request_id)


async def test_a_lease_that_fell_off_the_list_is_listed_again_when_it_is_renewed(
    bus: Bus, valkey_url: str
) -> None:
    engine = Rig(bus, valkey_url).engine
    ready = await ask(bus)
    await leases.take(bus, ready.request_id, "w.1", entry="1-1", lease_ms=60_000, model="m")
    job = Job(ready, "1-1", held=leases.lease("w.1", 1), attempt=1, computing=True)
    reporting = Reporting(bus, config(valkey_url), engine, "w.1")
    assert await bus.zscore(keys.leases(keys.MAIN), ready.request_id) is None
    assert await reporting.renew([job]) == []
    until = await bus.hget(keys.request(ready.request_id), "until")
    assert await bus.zscore(keys.leases(keys.MAIN), ready.request_id) == float(until or 0)
    engine.stop()
    assert engine.join(PATIENCE_S)


async def test_what_is_told_while_the_store_is_away_is_heard_when_it_is_back(
    bus: Bus, valkey_url: str
) -> None:
    rig = Rig(bus, valkey_url)
    control, blocking = keys.control(keys.MAIN), connect_blocking(valkey_url)
    await bus.xadd(control, {"forget_scope": "who came before"})
    async with asyncio.timeout(PATIENCE_S):
        for scope in ("ann", "bob"):  # a connection each
            listening = asyncio.create_task(rig.server._listen(blocking))
            while not rig.server._heard or (scope == "bob" and not rig.engine.forgotten):  # noqa: ASYNC110 # tells nobody
                await asyncio.sleep(0.01)
            listening.cancel()
            await asyncio.wait([listening])
            await bus.xadd(control, {"forget_scope": scope})
    assert rig.engine.forgotten == ("ann",)
    await blocking.aclose()
    rig.engine.stop()
    assert rig.engine.join(PATIENCE_S)
