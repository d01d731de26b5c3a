"""What a worker reports is what others read."""

import time

import pytest

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.workers import live_worker_ids, live_workers, seen, status_fields
from appliance.schema.status import Alarm, DeviceStatus, WorkerStatus

pytestmark = pytest.mark.integration


async def test_a_report_comes_back_as_it_was_with_its_devices_and_alarms(bus: Bus) -> None:
    device = DeviceStatus(
        name="Vulkan0",
        description="a, b; c",
        kind="gpu",
        backend="Vulkan",
        free_bytes=1,
        total_bytes=2,
        layers=3,
    )
    status = WorkerStatus(
        id="w.1",
        engine="llama",
        model="m",
        embedding_model="",
        device="Vulkan0: a, 3 of 19 layers",
        slots=1,
        busy=0,
        context_tokens=1,
        tokens_per_s=1.5,
        embedding_size=0,
        pid=1,
        warm=("s1", "s2"),
        devices=(device,),
        alarms=(Alarm(code="gpu_partly_used", message='"16"', hint="→"),),
    )
    await bus.hset(keys.worker(status.id), mapping=status_fields(status))
    await seen(bus, status.id)
    assert await live_workers(bus, 10.0) == (status,)


async def test_only_the_store_s_clock_tells_whether_a_worker_is_alive(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 3600
    await seen(bus, "w.1")
    monkeypatch.setattr(time, "time", lambda: later)
    await seen(bus, "w.2")
    assert set(await live_worker_ids(bus, 60.0)) == {"w.1", "w.2"}
    reported_ms = await bus.zscore(keys.WORKERS, "w.1") or 0.0
    await bus.zadd(keys.WORKERS, {"w.1": int(reported_ms) - 61_000})
    assert await live_worker_ids(bus, 60.0) == ("w.2",)
