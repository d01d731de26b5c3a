"""What a worker reports is what others read."""

import time

import pytest

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.workers import live_workers, status_fields
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
    await bus.zadd(keys.WORKERS, {status.id: int(time.time() * 1000)})
    assert await live_workers(bus, 10.0) == (status,)
