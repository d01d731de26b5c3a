"""Measures, runs, compares; prints the table and keeps it, with the constants, in a folder."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import platformdirs
import psutil
from engine_bench.processes import cost
from served import many_asking, served

from calibration_bench.compared import full_rate, live, simulated, table
from calibration_bench.fit import Shape, fit
from calibration_bench.live import planned, probed, run

SHAPE = Shape(slots=8, step_tokens=512, gap_s=0.5, kv_tokens=16_384)
SETTINGS = f"""
[models]
directory = "{platformdirs.user_cache_path("sluice") / "models"}"
[worker]
slots = {SHAPE.slots}
step_tokens = {SHAPE.step_tokens}
gap_ms = {int(1000 * SHAPE.gap_s)}
cache_tokens = {SHAPE.kv_tokens}
draft_tokens = 0
snapshot_bytes = 0
"""
"""Guessed tokens and conversations on disk are no part of the worker model."""


async def main(engine: str, loads: Sequence[float], run_s: float, output: Path | None) -> int:
    lines: list[str] = []
    with served(SETTINGS, engine=engine) as running:
        before, began_s = _others_s(running.pid), time.monotonic()
        async with many_asking(running) as http:
            found = fit(await probed(http, SHAPE.slots, 0), SHAPE)
            full = full_rate(found.constants)
            for number, load in enumerate(loads):
                asked = await run(http, planned(load * full, run_s, number))
                lines += ["", f"Load {load}, {len(asked)} requests in {run_s:g} s:", ""]
                lines += table(live(asked), simulated(asked, found))
        lasted_s = (time.monotonic() - began_s) * (psutil.cpu_count() or 1)
        others = max(0.0, _others_s(running.pid) - before) / lasted_s
    head = [
        f"Constants: {msgspec.json.encode(found.constants).decode()}",
        f"Beside the worker's own work a first word costs {1000 * found.around_s:.0f} ms.",
        f"Other programs had {100 * others:.0f} % of the machine; above 5 % this says little.",
    ]
    text = "\n".join([*head, *lines, ""])
    sys.stdout.write(text)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "constants.json").write_bytes(msgspec.json.encode(found.constants))
        (output / "compared.md").write_text(text, encoding="utf-8")
    return 0


def _others_s(pid: int) -> float:
    """CPU seconds that neither the appliance nor this process has had."""
    spent, own = cost(pid), psutil.Process().cpu_times()
    return spent.machine_cpu_s - sum(spent.cpu_s.values()) - own.user - own.system


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="calibration_bench", description=__doc__)
    parser.add_argument("--engine", choices=("llama", "fake"), default="llama")
    parser.add_argument("--loads", default="0.5,0.8", help="shares of what the worker can take")
    parser.add_argument("--seconds", type=float, default=90.0, help="of each run")
    parser.add_argument("--output", type=Path, help="a folder for the table and the constants")
    chosen = parser.parse_args()
    shares = [float(load) for load in chosen.loads.split(",")]
    sys.exit(asyncio.run(main(chosen.engine, shares, chosen.seconds, chosen.output)))
