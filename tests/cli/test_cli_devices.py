"""What the doctor says of GPUs."""

import pytest

from appliance.cli import doctor
from appliance.errors import Unavailable
from appliance.settings.inference import Worker
from appliance.worker.offload import Device

pytestmark = pytest.mark.unit

CPU = Device(name="CPU", description="x", kind="cpu", backend="CPU", free_bytes=1, total_bytes=2)
GPU = Device(
    name="Vulkan0",
    description="Radeon",
    kind="gpu",
    backend="Vulkan",
    free_bytes=6 << 30,
    total_bytes=8 << 30,
)


def said(
    monkeypatch: pytest.MonkeyPatch,
    *found: Device,
    installed: set[str],
    worker: Worker | None = None,
) -> list[str]:
    monkeypatch.setattr(doctor, "devices", lambda: found)
    monkeypatch.setattr(doctor, "_gpu_backends", lambda: installed)
    return [
        f"{one.subject} {one.verdict} {one.found}" for one in doctor._devices(worker or Worker())
    ]


def test_each_device_is_named_with_kind_backend_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said(monkeypatch, GPU, CPU, installed={"vulkan"})
    assert lines[0] == "Vulkan0 ok Radeon, gpu, Vulkan backend, 6.0 of 8.0 GiB free"
    assert len(lines) == 2


def test_a_backend_that_sees_nothing_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said(monkeypatch, CPU, installed={"vulkan"})
    assert lines[1] == "GPU note the backend for vulkan is installed and sees no GPU"
    assert len(lines) == 2


def test_a_library_that_does_not_start_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> tuple[Device, ...]:
        raise Unavailable("no", hint="mend it")

    monkeypatch.setattr(doctor, "devices", broken)
    findings = list(doctor._devices(Worker()))
    assert [(one.verdict, one.mend) for one in findings] == [("wrong", "mend it")]


def test_a_gpu_that_the_settings_leave_idle_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Worker(gpu_layers=0)
    lines = said(monkeypatch, GPU, CPU, installed={"vulkan"}, worker=idle)
    assert lines[2:] == ["GPU note not used: worker.gpu_layers is 0"]


def test_a_device_of_the_settings_that_is_not_there_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = Worker(device="Vulkan1")
    lines = said(monkeypatch, GPU, CPU, installed={"vulkan"}, worker=named)
    assert lines[2:] == ["GPU wrong worker.device is Vulkan1, which is not there"]
    there = Worker(device="Vulkan0")
    assert len(said(monkeypatch, GPU, CPU, installed={"vulkan"}, worker=there)) == 2
