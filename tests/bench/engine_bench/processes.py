"""What a server's processes cost: CPU seconds by part, and memory at its highest.

Read from /proc before and after a workload, never during it. The highest resident size is kept by
the kernel for each process; the proportional size (shared pages counted once) is taken at the end.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil

PARTS = (
    ("llama-server", "server"),
    ("valkey-server", "valkey"),
    ("appliance.vectors", "milvus"),
    ("appliance worker", "worker"),
    ("appliance serve", "access"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds by part; `peak_bytes` sums each process's own peak resident size.

    `machine_cpu_s` is what all processes of the machine used since it started.
    """

    cpu_s: dict[str, float]
    machine_cpu_s: float
    peak_bytes: int
    proportional_bytes: int


def cost(root_pid: int) -> Cost:
    """What the process and everything below it used since they started."""
    root = psutil.Process(root_pid)
    cpu_s: defaultdict[str, float] = defaultdict(float)
    peak_bytes = proportional_bytes = 0
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        cpu_s[part(" ".join(process.cmdline()))] += times.user + times.system
        folder = Path("/proc", str(process.pid))
        peak_bytes += kilobytes(folder / "status", "VmHWM")
        proportional_bytes += kilobytes(folder / "smaps_rollup", "Pss")
    return Cost(
        cpu_s=dict(cpu_s),
        machine_cpu_s=_machine_cpu_s(),
        peak_bytes=1024 * peak_bytes,
        proportional_bytes=1024 * proportional_bytes,
    )


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def part(command: str) -> str:
    """Which part of a server a command line is."""
    return next((name for needle, name in PARTS if needle in command), "other")


def kilobytes(path: Path, field: str) -> int:
    """A `Field:   123 kB` line of a /proc file; 0 when it has none."""
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    return 0
