"""`make bench-dist`: what the built file costs, as a Markdown table. On a quiet machine.

Starts are measured from the command to the line `ready`, with the starter models: the appliance
answers questions then. The first start includes unpacking, and with the full flavour taking the
models out. Memory is proportional (PSS) over all processes, so weights that several map count once.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import platformdirs
import psutil

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = platformdirs.user_cache_path("sluice") / "models"
WATCH_S, SETTLE_AT_MOST_S = 15.0, 120.0
BUSY_PERCENT = 10.0  # the FAQ is being indexed or calibrated, which ends by itself
MIB = 1 << 20


def started(file: Path, home: Path) -> tuple["subprocess.Popen[str]", float]:
    """A ready appliance, and the seconds it took."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(file), "serve", "--port", "0", "--demo-faq"],
        env={"HOME": str(home), "PATH": str(home), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    if not process.stdout.readline().startswith("ready"):
        sys.exit(f"{file} did not start; see the logs in {home}")
    return process, time.monotonic() - begun


def idle(process: "subprocess.Popen[str]") -> tuple[float, float]:
    """MiB of memory and percent of a core, once there is nothing to do."""
    family = [psutil.Process(process.pid)]
    family += family[0].children(recursive=True)
    began_s = time.monotonic()
    percent = BUSY_PERCENT
    while percent >= BUSY_PERCENT and time.monotonic() - began_s < SETTLE_AT_MOST_S:
        before = sum(sum(one.cpu_times()[:2]) for one in family)
        time.sleep(WATCH_S)
        spent = sum(sum(one.cpu_times()[:2]) for one in family) - before
        percent = 100 * spent / WATCH_S
    return sum(one.memory_full_info().pss for one in family) / MIB, percent


def stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def row(file: Path) -> str:
    told = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if file.name == "sluice":
            data = home / ".local/share/sluice"
            data.mkdir(parents=True, mode=0o700)
            settings = f"[models]\ndirectory = {json.dumps(str(WEIGHTS))}\n"
            (data / "settings.toml").write_text(settings, encoding="utf-8")
        file = Path(shutil.copy(file, home))
        process, first_s = started(file, home)
        stop(process)
        process, later_s = started(file, home)
        memory, cpu = idle(process)
        stop(process)
    sizes = f"{told['bytes'] / MIB:.0f} MiB | {told['unpacked_bytes'] / MIB:.0f} MiB"
    return (
        f"| `{file.name}` | {sizes} | {first_s:.1f} s | {later_s:.1f} s | "
        f"{memory:.0f} MiB | {cpu:.1f} % |"
    )


def main() -> None:
    files = [ROOT / "dist" / name for name in ("sluice", "sluice-full")]
    there = [one for one in files if os.access(one, os.X_OK)]
    if not there:
        sys.exit("there is no dist/sluice: make dist")
    print("| | file | unpacked | first start | later start | idle memory | idle CPU |")
    print("|---|---|---|---|---|---|---|")
    for file in there:
        print(row(file), flush=True)


if __name__ == "__main__":
    main()
