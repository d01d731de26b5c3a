"""Which layers of a model go to which GPU: pure arithmetic over sizes and free memory.

llama.cpp has a fit of its own, in C++ helpers outside its interface, which knows nothing of the
embedding model or of workers that share a GPU. This one reads sizes from the weights' own tensor
table. Layers go to GPUs from the last one down, the output matrix first, which counts as a layer
(llama.cpp's `n_gpu_layers` counts so); what a layer keeps in the cache goes with it. As few GPUs
as can hold everything are used, because each border costs a copy per step.

The result is an estimate: compute buffers are known only after loading. So it comes as a list of
attempts, each with fewer layers, and the last one is the CPU.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from models.precheck import Header

FITTED = -1  # as a number of layers: as many as there is room for
RESERVE_BYTES = 512 << 20  # on each GPU: compute buffers (40 to 300 MB) and what the driver keeps
ATTEMPTS = (4, 3, 2, 1)  # quarters of the layers first tried
_LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something that computes. Memory is what the driver says, 0 when it does not.

    `id` is the same for one GPU that two backends see (its place on the bus), "" when unknown.
    """

    name: str
    description: str
    kind: Literal["cpu", "gpu", "integrated"]
    backend: str
    free_bytes: int
    total_bytes: int
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """`layers`: weights and cache of each, in bytes, the output matrix last.

    `copied_bytes` of the output are on the CPU as well: a model that shares its output matrix
    with its input needs both. The embedding model has no cache; 0 is none.
    """

    layers: tuple[int, ...]
    copied_bytes: int = 0
    embedding_bytes: int = 0
    embedding_layers: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """How many layers of a model one GPU holds."""

    device: str
    layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """Chat layers by GPU, in the order of the layers; nothing in it is the CPU alone.

    `freed_bytes` is what the machine's own memory need not hold.
    """

    shares: tuple[Share, ...] = ()
    embedder: Share | None = None
    freed_bytes: int = 0

    @property
    def layers(self) -> int:
        return sum(share.layers for share in self.shares)


CPU_ONLY = Offload()


def need(chat: Header, embedding: Header | None, *, cache_bytes: int) -> Need:
    """Sizes from the tensor table; of equal layers where it names none."""
    count = max(1, chat.number("block_count"))
    weights = [0] * count
    for name, size_bytes in chat.tensors.items():
        found = _LAYER.match(name)
        if found and int(found[1]) < count:
            weights[int(found[1])] += size_bytes
    if not any(weights):
        weights = [chat.size_bytes // count] * count
    own = chat.tensors.get("output.weight", 0)
    shared = 0 if own else chat.tensors.get("token_embd.weight", 0)
    return Need(
        layers=(*(size + cache_bytes // count for size in weights), own + shared),
        copied_bytes=shared,
        embedding_bytes=embedding.size_bytes if embedding else 0,
        embedding_layers=embedding.number("block_count") + 1 if embedding else 0,
    )


def usable(devices: Iterable[Device], named: str = "") -> tuple[Device, ...]:
    """The GPUs to use: the named one, else every discrete one once, else integrated ones.

    Integrated GPUs share the machine's memory, so they only stand in where there is no other.
    """
    gpus = [device for device in devices if device.kind != "cpu"]
    if named:
        return tuple(gpu for gpu in gpus if gpu.name == named)
    discrete = [gpu for gpu in gpus if gpu.kind == "gpu"]
    chosen = discrete or [gpu for gpu in gpus if gpu.backend == gpus[0].backend]
    seen: set[str] = set()
    once = []
    for gpu in chosen:
        if not gpu.id or gpu.id not in seen:
            once.append(gpu)
        seen.add(gpu.id)
    return tuple(once)


def attempts(need: Need, gpus: Sequence[Device], *, asked: int) -> tuple[Offload, ...]:
    """What to try, most layers first, the CPU last. `asked` is a number of layers or FITTED.

    A number is taken at its word: the person may know more than the estimate.
    """
    most = len(need.layers)
    first = fitting(need, gpus) if asked == FITTED else min(asked, most)
    if not gpus or first == 0:
        return (CPU_ONLY,)
    counts = dict.fromkeys(first * quarter // 4 for quarter in ATTEMPTS)
    return (*(spread(need, gpus, count) for count in counts if count), CPU_ONLY)


def fitting(need: Need, gpus: Sequence[Device]) -> int:
    """How many layers, counted from the last, fit on these GPUs; 0 is none."""
    rooms = [_room(gpu) for gpu in gpus]
    counts = range(len(need.layers), 0, -1)
    return next((count for count in counts if _packed(need.layers[-count:], rooms)), 0)


def spread(need: Need, gpus: Sequence[Device], count: int) -> Offload:
    """The last `count` layers over the GPUs, by room; by free memory when there is too little.

    The embedding model is small and quick on a CPU: it follows only a chat model that is on the
    GPU as a whole.
    """
    layers = need.layers[-count:]
    rooms = [_room(gpu) for gpu in gpus]
    packed = _packed(layers, rooms)
    counts = packed or _proportional(count, [max(1, gpu.free_bytes) for gpu in gpus])
    freed, start, embedder = 0, 0, None
    for gpu, held in zip(gpus, counts, strict=True):
        used = sum(layers[start : start + held])
        start += held
        if gpu.kind == "gpu":
            freed += used - (need.copied_bytes if held and start == count else 0)
        fits = packed and count == len(need.layers) and need.embedding_bytes <= _room(gpu) - used
        if need.embedding_layers and fits and embedder is None:
            embedder = Share(gpu.name, need.embedding_layers)
            freed += need.embedding_bytes if gpu.kind == "gpu" else 0
    shares = tuple(Share(gpu.name, held) for gpu, held in zip(gpus, counts, strict=True) if held)
    return Offload(shares=shares, embedder=embedder, freed_bytes=freed)


def _room(gpu: Device) -> int:
    return max(0, gpu.free_bytes - RESERVE_BYTES)


def _packed(layers: Sequence[int], rooms: Sequence[int]) -> list[int]:
    """How many consecutive layers each room takes; empty when they do not all fit.

    Filling each room before the next loses nothing, for the order of both is fixed.
    """
    counts, at = [], 0
    for room in rooms:
        start, left = at, room
        while at < len(layers) and layers[at] <= left:
            left -= layers[at]
            at += 1
        counts.append(at - start)
    return counts if at == len(layers) else []


def _proportional(count: int, weights: Sequence[int]) -> list[int]:
    """`count` in whole parts as near to the weights as rounding down and the rest allow."""
    counts, given, seen = [], 0, 0
    for weight in weights:
        seen += weight
        upto = count * seen // sum(weights)
        counts.append(upto - given)
        given = upto
    return counts
