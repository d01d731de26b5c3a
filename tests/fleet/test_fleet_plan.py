"""Seats: no machine and no setting makes workers use more threads than there are."""

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import CannotBoot
from appliance.fleet import devices
from appliance.fleet.plan import Machine, Seat, seats, shares

pytestmark = pytest.mark.unit

GB = 10**9
MACHINES = st.builds(
    Machine,
    gpus=st.integers(0, 8).map(lambda n: tuple(f"CUDA{i}" for i in range(n))),
    threads=st.integers(1, 64),
    memory_bytes=st.integers(1, 512).map(lambda n: n * GB),
)


@given(MACHINES, st.integers(0, 64), st.integers(0, 64).map(lambda n: n * GB))
def test_the_budget_holds_or_the_reason_is_told(
    machine: Machine, count: int, copy_bytes: int
) -> None:
    try:
        found = seats(machine, count=count, weights_bytes=GB, copy_bytes=copy_bytes)
    except CannotBoot:
        assert count > machine.threads or GB + count * copy_bytes > machine.memory_bytes
        return
    assert sum(seat.threads for seat in found) <= machine.threads
    assert min(seat.threads for seat in found) >= 1
    assert max(seat.threads for seat in found) - min(seat.threads for seat in found) <= 1
    assert [seat.number for seat in found] == list(range(len(found))), "names last over restarts"
    assert 1 <= sum(seat.embeds for seat in found) <= 2
    if count:
        assert len(found) == count
    else:
        assert len(found) == min(max(1, len(machine.gpus)), machine.threads)
    if len(machine.gpus) > 1:
        used = [seat.device for seat in found]
        assert set(used) == set(machine.gpus[: len(found)])
        most = max(map(used.count, machine.gpus))
        assert most - min(used.count(gpu) for gpu in machine.gpus) <= 1
    else:
        assert {seat.device for seat in found} == {""}


@given(st.integers(1, 64), st.integers(1, 64))
def test_shares_add_up_to_all_threads(threads: int, workers: int) -> None:
    found = shares(threads, workers)
    assert len(found) == workers
    assert sum(found) == max(threads, workers)


def test_two_gpus_get_a_worker_each_without_asking() -> None:
    machine = Machine(gpus=("Vulkan0", "Vulkan1"), threads=9, memory_bytes=GB)
    assert seats(machine, count=0, copy_bytes=4 * GB) == (
        Seat(number=0, threads=5, device="Vulkan0", embeds=True),
        Seat(number=1, threads=4, device="Vulkan1", embeds=True),
    )


def test_copies_that_do_not_fit_are_told_in_gigabytes() -> None:
    machine = Machine(gpus=(), threads=8, memory_bytes=7 * GB)
    with pytest.raises(CannotBoot, match=r"3 workers need about 10\.0 GB .* 7\.0 GB are free"):
        seats(machine, count=3, weights_bytes=GB, copy_bytes=3 * GB)
    assert len(seats(machine, count=2, weights_bytes=GB, copy_bytes=3 * GB)) == 2


def device(name: str, kind: str, bus_id: str = "") -> str:
    return (
        f'{{"name":"{name}","description":"","kind":"{kind}","backend":"{name[:-1]}",'
        f'"free_bytes":1,"total_bytes":1,"id":"{bus_id}"}}'
    )


def said_by_the_library(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    def ran(*_: Any, **__: Any) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.CompletedProcess([], 0, f"[{','.join(found)}]".encode())

    monkeypatch.setattr(devices, "NODES", ("null",))
    monkeypatch.setattr(subprocess, "run", ran)


def test_only_gpus_of_their_own_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = device("Vulkan0", "integrated")
    said_by_the_library(monkeypatch, device("CPU", "cpu"), device("CUDA1", "gpu"), shared)
    assert [one.name for one in devices.gpus()] == ["CUDA1"]
    said_by_the_library(monkeypatch, shared)
    assert devices.gpus() == ()
    monkeypatch.setattr(devices, "NODES", ("no-such-node",))
    assert devices.gpus() == ()


def test_a_gpu_that_two_backends_see_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = "0000:01:00.0", "0000:02:00.0"
    said_by_the_library(
        monkeypatch,
        *(device("CUDA0", "gpu", first), device("CUDA1", "gpu", second)),
        *(device("Vulkan0", "gpu", first), device("Vulkan1", "gpu", second)),
        device("CPU", "cpu"),
    )
    assert [one.name for one in devices.gpus()] == ["CUDA0", "CUDA1"]
    assert [one.name for one in devices.gpus("Vulkan1")] == ["Vulkan1"]


@pytest.mark.parametrize("said", [b"", b"{}", b"Segmentation fault"])
def test_a_library_that_says_nothing_sound_leaves_the_gpus_alone(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(*_: Any, **__: Any) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.CompletedProcess([], 0, said)

    monkeypatch.setattr(devices, "NODES", ("null",))
    monkeypatch.setattr(subprocess, "run", ran)
    assert devices.gpus() == ()
