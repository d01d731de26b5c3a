"""Inference on a Vulkan device, in software where there is no GPU, and the ways it falls back.

A software device needs seconds for a token, so answers are a few tokens long and each case loads
the smaller test model.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from worker_bench import model_path

from appliance.schema.status import Alarm, DeviceStatus
from appliance.worker.offload import RESERVE_BYTES

CHILD = Path(__file__).with_name("gpu_child.py")
TIMEOUT_S = 1500
LAYERS = 19


class Said(msgspec.Struct):
    """What the child prints."""

    answer: list[int]
    device: str
    devices: list[DeviceStatus]
    alarms: list[Alarm]

    @property
    def on_gpu(self) -> int:
        return sum(device.layers for device in self.devices)


@dataclass(frozen=True)
class Case:
    layers: int = -1
    free_bytes: int | None = None
    tokens: int = 0


def run(case: Case, **environment: str) -> Said:
    """Load and answer in a new process with these variables."""
    words = [case.layers, "" if case.free_bytes is None else case.free_bytes, case.tokens]
    done = subprocess.run(
        [sys.executable, CHILD, model_path("gemma-3-270m*.gguf"), *map(str, words)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(filter(None, sys.path)),
            # The first device, whatever it is: those that compute in software are hidden else.
            "GGML_VK_VISIBLE_DEVICES": os.environ.get("GGML_VK_VISIBLE_DEVICES", "0"),
            **environment,
        },
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return msgspec.json.decode(done.stdout, type=Said)


pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True, scope="module")
def vulkan() -> None:
    """Skips where the backend was never built."""
    from appliance.worker.llama_library import backend_directory

    if not list(backend_directory().glob("*ggml-vulkan*")):
        pytest.skip("the Vulkan backend is not built: run `make vulkan`, or `make test-gpu`")


def test_a_model_that_fits_is_on_the_gpu_as_a_whole_and_answers_as_the_cpu_does() -> None:
    on_gpu = run(Case(tokens=4))
    assert on_gpu.on_gpu == LAYERS
    assert on_gpu.alarms == []
    first = on_gpu.devices[0]
    assert (first.backend, first.kind) == ("Vulkan", "gpu")
    assert 0 < first.free_bytes <= first.total_bytes
    assert on_gpu.device == f"{first.name}: {first.description}, {LAYERS} of {LAYERS} layers"
    on_cpu = run(Case(layers=0, tokens=4))
    assert on_cpu.on_gpu == 0
    assert on_cpu.device.startswith("CPU: ")
    assert on_gpu.answer == on_cpu.answer
    assert len(on_gpu.answer) == 4


def test_a_gpu_with_little_memory_takes_a_part_and_answers_the_same() -> None:
    # room for the output matrix (about 180 MB) and some layers of 3 to 4 MB
    on_both = run(Case(free_bytes=RESERVE_BYTES + 200_000_000, tokens=2))
    assert 0 < on_both.on_gpu < LAYERS
    assert f"{on_both.on_gpu} of {LAYERS} layers" in on_both.device
    assert on_both.alarms == []
    assert on_both.answer == run(Case(layers=0, tokens=2)).answer


def test_a_gpu_without_room_is_left_alone_with_an_alarm() -> None:
    said = run(Case(free_bytes=RESERVE_BYTES, tokens=1))
    assert said.on_gpu == 0
    assert said.device.startswith("CPU: ")
    assert [alarm.code for alarm in said.alarms] == ["gpu_not_used"]
    assert len(said.answer) == 1


@pytest.mark.parametrize("variable", ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"])
def test_a_missing_driver_leaves_the_cpu_and_an_alarm(variable: str, tmp_path: Path) -> None:
    said = run(Case(tokens=1), **{variable: str(tmp_path / "none.json")})
    assert [device.kind for device in said.devices] == ["cpu"]
    assert said.device.startswith("CPU: ")
    assert [alarm.code for alarm in said.alarms] == ["gpu_driver_missing"]
    assert len(said.answer) == 1


def test_a_wish_for_no_gpu_raises_no_alarm(tmp_path: Path) -> None:
    said = run(Case(layers=0), VK_DRIVER_FILES=str(tmp_path / "none.json"))
    assert said.alarms == []
