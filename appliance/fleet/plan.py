"""How many workers the chat model gets, and what each may use; pure.

A worker is one process with its own copy of the model. On a machine with several GPUs each one
gets a worker that is pinned to it; on any other machine one worker with all the threads is the
fastest, since its batch serves everybody. More can be asked for.

Threads are a budget: two pools of spinning threads that together exceed the cores slow each other
down a hundredfold, so the shares of all workers never add up to more than there are. Embedding
runs on its worker's own engine thread and needs no share. The embedding model lives on the first
two workers: one is enough for the work, the second keeps retrieval going while the first comes
back from a crash, and a third would only cost memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import CannotBoot

EMBEDDING_WORKERS = 2
GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class Seat:
    """What one worker gets. `device` is a GPU as the library names it, "" for no pinning."""

    number: int
    threads: int
    device: str = ""
    embeds: bool


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`gpus` by name; `threads` for all workers together; `memory_bytes` is free memory."""

    gpus: tuple[str, ...]
    threads: int
    memory_bytes: int


def seats(
    machine: Machine, *, count: int, weights_bytes: int = 0, copy_bytes: int = 0
) -> tuple[Seat, ...]:
    """The workers of the chat model; `count` 0 is one per GPU, or one.

    Workers map the same file, so `weights_bytes` are in memory once; `copy_bytes` is what each
    needs for itself (two workers of the starter model: 1.0 GB resident each, 0.47 of it its own).
    Without a GPU a count that threads or memory do not carry raises CannotBoot; with GPUs it is
    their own memory that counts, which each worker looks at itself.
    """
    wanted = count or min(max(1, len(machine.gpus)), machine.threads)
    if wanted > machine.threads:
        raise CannotBoot(
            f"{wanted} workers need a thread each and there are {machine.threads}",
            hint=f"set worker.count to at most {machine.threads}, or raise worker.threads",
        )
    needed_bytes = weights_bytes + wanted * copy_bytes
    if not machine.gpus and wanted > 1 and needed_bytes > machine.memory_bytes:
        raise CannotBoot(
            f"{wanted} workers need about {needed_bytes / GIGABYTE:.1f} GB of memory "
            f"and {machine.memory_bytes / GIGABYTE:.1f} GB are free",
            hint="lower worker.count or worker.cache_tokens, or choose a smaller model",
        )
    return tuple(
        Seat(
            number=number,
            threads=threads,
            device=machine.gpus[number % len(machine.gpus)] if len(machine.gpus) > 1 else "",
            embeds=number < EMBEDDING_WORKERS,
        )
        for number, threads in enumerate(shares(machine.threads, wanted))
    )


def shares(threads: int, workers: int) -> Sequence[int]:
    """The threads of each worker: all of them, evenly, the first ones get what is left over."""
    each, left = divmod(threads, workers)
    return [max(1, each + (number < left)) for number in range(workers)]
