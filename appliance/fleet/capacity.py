"""What this machine has for models: memory, disk, GPUs, and how fast its cores read memory.

How fast memory is read is measured once per process, in about half a second on as many
threads as workers use: the best of a few passes over buffers that no cache holds. It is asked for
by people who look at models, never at a start.
"""

import functools
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from appliance.fleet.devices import gpus
from appliance.fleet.fitting import Capacity
from appliance.settings import Settings
from appliance.worker.offload import Device

BUFFER_BYTES = 128 << 20  # per thread: beyond most caches
PASSES = 5
THREADS_MAX = 8


def capacity(settings: Settings, *, threads: int, held_bytes: int, directory: Path) -> Capacity:
    """Blocks: call it on a thread. `held_bytes` are what the present chat model gives back."""
    cards = graphics(settings)
    return Capacity(
        free_bytes=psutil.virtual_memory().available + held_bytes,
        disk_free_bytes=shutil.disk_usage(existing(directory)).free,
        read_rate=read_rate(min(threads, THREADS_MAX)),
        cores=threads,
        gpu_bytes=max((card.total_bytes for card in cards), default=0),
    )


def graphics(settings: Settings) -> tuple[Device, ...]:
    """The GPUs that workers may use; none with the fake engine, or when they are switched off."""
    worker = settings.worker
    if worker.engine == "fake" or worker.gpu_layers == 0:
        return ()
    return _cards(worker.device)


@functools.cache
def read_rate(threads: int) -> float:
    """Bytes of memory that so many threads read in a second, together."""
    buffers = [np.ones(BUFFER_BYTES // 4, np.uint32) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        times_s = []
        for _ in range(PASSES):
            began_s = time.perf_counter()
            list(pool.map(np.max, buffers))
            times_s.append(time.perf_counter() - began_s)
    return threads * BUFFER_BYTES / min(times_s)


def existing(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there."""
    return next(one for one in (directory, *directory.parents) if one.exists())


@functools.cache
def _cards(named: str) -> tuple[Device, ...]:
    """Asking starts a process; GPUs come and go with the machine only."""
    return gpus(named)
