"""`make bench-dist`: what the built file costs, as a Markdown table. On a quiet machine.

Starts are measured from the command, with the starter models: to the line `ready`, when questions
are answered, and to the prompt of the terminal UI, which takes questions while models are loading.
The first start includes unpacking, taking the models out with the full flavour, and storing the
demo FAQ, which is found by its words until it is embedded. Later starts are the median of three.
Memory is proportional (PSS) over all processes, so weights that several map count once. CPU is that
of a minute at rest, in which an idle engine makes one token to prove itself.
"""

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import platformdirs
import psutil

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = platformdirs.user_cache_path("sluice") / "models"
WATCH_S, SETTLE_AT_MOST_S = 60.0, 300.0
STARTS = 3
PROMPT = b"Ask a question"  # what stands in a conversation without turns
BUSY_PERCENT = 5.0  # the FAQ is being indexed or calibrated, which ends by itself
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


def drawn(file: Path, home: Path) -> float:
    """Seconds until the terminal UI has drawn its prompt; it is ended then."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(file), "--port", "0"],
        env={"HOME": str(home), "PATH": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    while PROMPT not in seen:
        seen += _read(ours) or sys.exit(f"{file} has drawn no prompt; see the logs in {home}")
    taken_s = time.monotonic() - begun
    os.write(ours, b"\x11")  # Ctrl+Q
    while _read(ours):
        pass
    process.wait(60)
    os.close(ours)
    return taken_s


def _read(terminal: int) -> bytes:
    """What comes within a minute; empty at the end."""
    ready, _, _ = select.select([terminal], [], [], 60)
    try:
        return os.read(terminal, 65_536) if ready else b""
    except OSError:  # Linux says EIO when the other end is closed
        return b""


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
        later = []
        for _ in range(STARTS - 1):
            process, taken_s = started(file, home)
            later.append(taken_s)
            stop(process)
        prompt_s = statistics.median(drawn(file, home) for _ in range(STARTS))
        process, taken_s = started(file, home)
        later_s = statistics.median([*later, taken_s])
        memory, cpu = idle(process)
        stop(process)
    sizes = f"{told['bytes'] / MIB:.0f} MiB | {told['unpacked_bytes'] / MIB:.0f} MiB"
    return (
        f"| `{file.name}` | {sizes} | {first_s:.1f} s | {prompt_s:.1f} s | {later_s:.1f} s | "
        f"{memory:.0f} MiB | {cpu:.1f} % |"
    )


def main() -> None:
    files = [ROOT / "dist" / name for name in ("sluice", "sluice-full")]
    there = [one for one in files if os.access(one, os.X_OK)]
    if not there:
        sys.exit("there is no dist/sluice: make dist")
    print("| | file | unpacked | first start | UI, later | ready, later | idle memory | idle CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for file in there:
        print(row(file), flush=True)


if __name__ == "__main__":
    main()
