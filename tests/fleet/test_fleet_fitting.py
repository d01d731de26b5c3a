"""Which models fit a machine: memory, disk and speed, and which one is proposed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.fleet.fitting import (
    DISK_RESERVE_BYTES,
    Capacity,
    Offer,
    fit,
    memory_of,
    proposed,
)
from models.catalogue import shipped

pytestmark = pytest.mark.unit

GB = 1_000_000_000
CACHE_TOKENS = 16_384
LAPTOP = Capacity(free_bytes=12 * GB, disk_free_bytes=200 * GB, read_rate=40 * GB, cores=8)


def offers() -> list[Offer]:
    """The shipped chat models, none of them here yet."""
    return [
        Offer(
            name=one.name,
            size_bytes=one.size_bytes,
            missing_bytes=one.size_bytes,
            memory_bytes=memory_of(one, cache_tokens=CACHE_TOKENS),
            read_share=one.read_share,
        )
        for one in shipped().entry
        if one.kind == "chat" and one.name != shipped().roles.test_chat
    ]


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (LAPTOP, "qwen3-4b-q4_k_m"),
        (replace(LAPTOP, cores=2), "qwen2.5-coder-0.5b-instruct-q4_k_m"),
        (replace(LAPTOP, read_rate=15 * GB), "qwen2.5-coder-0.5b-instruct-q4_k_m"),
        (replace(LAPTOP, free_bytes=7 * GB), "qwen2.5-coder-0.5b-instruct-q4_k_m"),
        (replace(LAPTOP, free_bytes=40 * GB), "qwen3-30b-a3b-q4_k_m"),
        (replace(LAPTOP, gpu_bytes=8 * GB), "qwen3-8b-q4_k_m"),
        (replace(LAPTOP, gpu_bytes=24 * GB), "qwen3-30b-a3b-q4_k_m"),
        (replace(LAPTOP, disk_free_bytes=2 * GB), "qwen2.5-coder-0.5b-instruct-q4_k_m"),
        (replace(LAPTOP, free_bytes=GB // 2), ""),
    ],
)
def test_the_largest_comfortable_model_is_proposed(machine: Capacity, name: str) -> None:
    assert proposed(offers(), machine) == name


def test_what_stands_in_the_way_is_said() -> None:
    offer = offers()[1]
    assert fit(offer, LAPTOP).obstacle == ""
    assert fit(offer, replace(LAPTOP, free_bytes=offer.memory_bytes - 1)).obstacle == "memory"
    least = offer.missing_bytes + DISK_RESERVE_BYTES
    assert fit(offer, replace(LAPTOP, disk_free_bytes=least)).obstacle == ""
    assert fit(offer, replace(LAPTOP, disk_free_bytes=least - 1)).obstacle == "disk"
    here = replace(offer, missing_bytes=0)
    assert fit(here, replace(LAPTOP, disk_free_bytes=0)).obstacle == ""


def test_the_speed_follows_memory_and_cores() -> None:
    offer = Offer(name="m", size_bytes=4 * GB, missing_bytes=0, memory_bytes=5 * GB)
    slow, fast = fit(offer, LAPTOP), fit(offer, replace(LAPTOP, read_rate=80 * GB, cores=16))
    assert (slow.tokens_per_s, fast.tokens_per_s) == (7.0, 14.0)
    assert slow.first_word_s == pytest.approx(2 * (fast.first_word_s or 0), rel=0.1)
    third = replace(offer, read_share=0.25)
    assert fit(third, LAPTOP).tokens_per_s == 28.0
    on_gpu = fit(offer, replace(LAPTOP, gpu_bytes=6 * GB))
    assert (on_gpu.on_gpu, on_gpu.tokens_per_s, on_gpu.obstacle) == (True, None, "")


@given(
    free=st.integers(0, 100 * GB),
    disk=st.integers(0, 100 * GB),
    rate=st.floats(0, 1e12),
    cores=st.integers(1, 256),
    gpu=st.integers(0, 100 * GB),
)
def test_nothing_that_does_not_fit_is_ever_proposed(
    free: int, disk: int, rate: float, cores: int, gpu: int
) -> None:
    machine = Capacity(
        free_bytes=free, disk_free_bytes=disk, read_rate=rate, cores=cores, gpu_bytes=gpu
    )
    name = proposed(offers(), machine)
    judged = {one.name: fit(one, machine) for one in offers()}
    if name:
        assert judged[name].obstacle == ""
    else:
        assert all(one.obstacle for one in judged.values())
