"""Which layers go to which GPU, and when nobody may stay silent about it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_bench import model_path

from appliance.worker.gpu_alarms import Seen, gpu_alarms
from appliance.worker.memory import cache_bytes
from appliance.worker.offload import (
    CPU_ONLY,
    FITTED,
    RESERVE_BYTES,
    Device,
    Need,
    Offload,
    Share,
    attempts,
    fitting,
    need,
    spread,
    usable,
)
from models.precheck import Header, precheck

pytestmark = pytest.mark.unit

MB = 1_000_000


def gpu(
    name: str, room_bytes: int, kind: str = "gpu", backend: str = "Vulkan", id: str = ""
) -> Device:
    """A GPU with so much room beside the reserve."""
    return Device(
        name=name,
        description=f"the {name}",
        kind=kind,  # type: ignore[arg-type]
        backend=backend,
        free_bytes=room_bytes + RESERVE_BYTES,
        total_bytes=room_bytes + 2 * RESERVE_BYTES,
        id=id,
    )


def model(*layers: int, copied: int = 0, embedding: int = 0) -> Need:
    return Need(
        layers=layers,
        copied_bytes=copied,
        embedding_bytes=embedding,
        embedding_layers=13 if embedding else 0,
    )


def test_all_part_and_none_follow_the_free_memory() -> None:
    small = model(10, 10, 10, 40)
    assert fitting(small, [gpu("A", 70)]) == 4
    assert fitting(small, [gpu("A", 69)]) == 3
    assert fitting(small, [gpu("A", 39)]) == 0
    assert fitting(small, []) == 0
    assert attempts(small, [gpu("A", 39)], asked=FITTED) == (CPU_ONLY,)


def test_a_gpu_whose_memory_is_unknown_gets_nothing_unless_asked() -> None:
    silent = Device(name="A", description="", kind="gpu", backend="x", free_bytes=0, total_bytes=0)
    assert attempts(model(1, 1), [silent], asked=FITTED) == (CPU_ONLY,)
    assert attempts(model(1, 1), [silent], asked=2)[0].shares == (Share("A", 2),)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=7),
    st.lists(st.integers(0, 30), min_size=1, max_size=3),
)
def test_no_other_way_of_cutting_puts_more_layers_on_gpus(
    layers: list[int], rooms: list[int]
) -> None:
    found = fitting(model(*layers), [gpu(str(n), room) for n, room in enumerate(rooms)])

    def possible(count: int) -> bool:
        """Tries every way to cut the last layers into consecutive runs, one for each GPU."""
        last = layers[len(layers) - count :]
        for cuts in itertools.combinations_with_replacement(range(count + 1), len(rooms) - 1):
            ends = [0, *cuts, count]
            runs = [last[a:b] for a, b in itertools.pairwise(ends)]
            if all(sum(run) <= room for run, room in zip(runs, rooms, strict=True)):
                return True
        return False

    assert found == max(count for count in range(len(layers) + 1) if possible(count))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.lists(st.integers(0, 90), max_size=4),
    st.integers(-1, 50),
)
def test_attempts_shrink_to_the_cpu_and_hold_what_they_say(
    layers: list[int], rooms: list[int], asked: int
) -> None:
    gpus = [gpu(str(n), room) for n, room in enumerate(rooms)]
    tried = attempts(model(*layers), gpus, asked=asked)
    counts = [one.layers for one in tried]
    assert counts == sorted(set(counts), reverse=True)
    assert tried[-1] == CPU_ONLY
    assert len(tried) <= 5
    if asked > 0 and gpus:
        assert counts[0] == min(asked, len(layers))
    if asked == FITTED:
        room = {one.name: one.free_bytes - RESERVE_BYTES for one in gpus}
        for one in tried[:-1]:
            at = len(layers) - one.layers
            for share in one.shares:
                assert sum(layers[at : at + share.layers]) <= room[share.device]
                at += share.layers
            assert at == len(layers)


def test_as_few_gpus_as_hold_the_model_are_used() -> None:
    gpus = [gpu("A", 100), gpu("B", 100)]
    assert spread(model(30, 30, 30), gpus, 3).shares == (Share("A", 3),)
    assert spread(model(60, 30, 30), gpus, 3).shares == (Share("A", 2), Share("B", 1))


def test_the_embedding_model_follows_a_whole_chat_model_only() -> None:
    beside = model(30, 30, embedding=40)
    assert spread(beside, [gpu("A", 100)], 2).embedder == Share("A", 13)
    assert spread(beside, [gpu("A", 99)], 2).embedder is None
    assert spread(beside, [gpu("A", 60), gpu("B", 40)], 2).embedder == Share("B", 13)
    assert spread(beside, [gpu("A", 100)], 1).embedder is None


def test_memory_is_freed_only_by_what_leaves_the_machine() -> None:
    tied = model(30, 30, 50, copied=50, embedding=5)
    assert spread(tied, [gpu("A", 200)], 3).freed_bytes == 30 + 30 + 5
    assert spread(tied, [gpu("A", 200)], 1).freed_bytes == 0
    assert spread(tied, [gpu("A", 200, kind="integrated")], 3).freed_bytes == 0


def test_each_gpu_counts_once_and_integrated_ones_stand_in() -> None:
    cpu = Device(name="CPU", description="", kind="cpu", backend="CPU", free_bytes=1, total_bytes=1)
    cuda = gpu("CUDA0", 1, backend="CUDA", id="0000:01:00.0")
    twin = gpu("Vulkan0", 1, id="0000:01:00.0")
    other = gpu("Vulkan1", 1, id="0000:02:00.0")
    shared = gpu("Vulkan2", 1, kind="integrated", id="0000:00:02.0")
    assert usable([cuda, twin, other, shared, cpu]) == (cuda, other)
    assert usable([shared, cpu]) == (shared,)
    assert usable([cuda, twin, cpu], "Vulkan0") == (twin,)
    assert usable([cuda, cpu], "Vulkan7") == ()
    assert usable([cpu]) == ()


def test_sizes_come_from_the_tensor_table() -> None:
    header = Header(
        "x",
        5,
        {"x.block_count": 2},
        1000,
        {"token_embd.weight": 400, "blk.0.a": 50, "blk.0.b": 50, "blk.1.a": 80, "output_norm": 1},
    )
    assert need(header, None, cache_bytes=20) == model(110, 90, 400, copied=400)
    own = Header("x", 1, header.values, 1000, header.tensors | {"output.weight": 300})
    assert need(own, None, cache_bytes=0) == model(100, 80, 300)
    unknown = Header("x", 0, header.values, 1000)
    assert need(unknown, None, cache_bytes=0) == model(500, 500, 0)


@pytest.mark.model
def test_the_layers_of_a_real_model_add_up_to_its_file() -> None:
    header = precheck(model_path("gemma-3-270m*.gguf").resolve())
    sizes = need(header, None, cache_bytes=cache_bytes(header, 512))
    assert len(sizes.layers) == 19
    assert sizes.copied_bytes == sizes.layers[-1] > 50 * MB
    weights = sum(sizes.layers) - cache_bytes(header, 512)
    assert 0.9 * header.size_bytes < weights <= header.size_bytes


A = gpu("A", 100 * MB)
FULL = Offload(shares=(Share("A", 4),))
PART = Offload(shares=(Share("A", 2),))


@pytest.mark.parametrize(
    ("seen", "code", "words"),
    [
        (Seen(asked=0, silent=["vulkan"], nvidia=True), "", ""),
        (Seen(asked=FITTED), "", ""),
        (Seen(asked=FITTED, gpus=[A], planned=FULL, used=FULL, silent=["cuda"]), "", ""),
        (Seen(asked=FITTED, gpus=[A], planned=PART, used=PART), "", ""),
        (Seen(asked=FITTED, gpus=[A]), "gpu_not_used", "no layer of the model fits"),
        (Seen(asked=4, gpus=[A], planned=FULL, failures=["boom"]), "gpu_not_used", "boom"),
        (Seen(asked=FITTED, gpus=[A], aborted=True), "gpu_aborted", "aborted while it used A"),
        (Seen(asked=FITTED, aborted=True), "", ""),
        (Seen(asked=0, gpus=[A], aborted=True), "", ""),
        (
            Seen(asked=4, gpus=[A], planned=FULL, used=PART, failures=["boom"]),
            "gpu_partly_used",
            "4 layers did not load on the GPU, 2 did: boom",
        ),
        (Seen(asked=FITTED, silent=["vulkan"]), "gpu_driver_missing", "vulkan"),
        (Seen(asked=12), "gpu_not_found", "worker.gpu_layers = 12"),
        (Seen(asked=FITTED, named="Vulkan3"), "gpu_not_found", "Vulkan3"),
        (Seen(asked=FITTED, nvidia=True), "gpu_backend_missing", "NVIDIA"),
    ],
)
def test_an_alarm_is_raised_when_a_gpu_is_silently_not_used(
    seen: Seen, code: str, words: str
) -> None:
    alarms = gpu_alarms(seen)
    assert [alarm.code for alarm in alarms] == ([code] if code else [])
    assert all(words in alarm.message and alarm.hint for alarm in alarms)
