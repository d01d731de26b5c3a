"""Kills a process in the middle of answers, again and again, and looks what the readers saw.

Each run has several people ask at once. When one of them, chosen by lot, has heard a number of
pieces, chosen by lot, a worker, Valkey or the whole appliance gets `kill -9`. The readers are
independent of the product's own client: they read the event streams, and where one breaks they go
on with `Last-Event-ID`. Then every answer must have ended exactly once, with ids that rise, and
with the very text of the same question asked undisturbed, in the stream and in the stored turn.

    python tests/whole/torture.py --runs 50 [--engine llama] [--kinds worker,parent,valkey]

prints one table and exits with status 1 when anything was wrong.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import platformdirs
import psutil
from conftest import Event, family, parse, start, text_of

TERMINAL = ("done", "failed", "refused", "cancelled")
RUN_TIMEOUT_S = 180.0
RETRY_S = 0.2  # a client of its own each time costs 30 ms of CPU
KINDS = ("worker", "parent", "valkey")
SETTINGS = """
[store]
fsync = "always"
[supervision]
restart_window_s = 1
"""
FAKE_QUESTIONS = (
    "#tokens=240 #slow=20 tell me about the canteen",
    "#tokens=300 #slow=15 请介绍一下公司的班车和食堂",
    "#tokens=150 #slow=25 a short one",
    "#tokens=400 #slow=12 naïve café — “quoted” 😀 text",
    "#tokens=250 #slow=15 密码重置：先打开设置页面",
    "#tokens=320 #slow=15 #hash signs and 1 2 3 4 5 6 7 8 9",
)
MODEL_QUESTIONS = (
    "Count from 1 to 30, one number per line.",
    "Write a Python function that reverses a list, and explain it.",
    "用中文介绍一下什么是数据库，三句话。",
    "Name the planets of the solar system with one fact each.",
    "请写一首关于春天的短诗。",
    "Explain what a hash table is in four sentences.",
)


@dataclass(frozen=True)
class Ask:
    """A question with its options, and the answer it gets when nothing is disturbed."""

    text: str
    options: dict[str, Any]
    expected: str
    pieces: int


@dataclass(frozen=True)
class Parted:
    """Two greedy answers of the real model to one question."""

    text: str
    one: str
    other: str


@dataclass
class Report:
    """What was seen over all runs of one kind. `faults` are sentences."""

    kind: str
    runs: int = 0
    requests: int = 0
    continued: int = 0
    parted: list[Parted] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        pauses = sorted(self.pauses_s) or [0.0]
        return (
            f"{self.kind:8} {self.runs:5} {self.requests:9} {self.continued:10} "
            f"{statistics.median(pauses):8.2f} {pauses[int(0.95 * (len(pauses) - 1))]:8.2f} "
            f"{len(self.parted):7} {len(self.faults):7}"
        )


HEAD = "killed    runs  requests  continued  pause50  pause95  parted  faults"


class Reader(threading.Thread):
    """Follows one request to its end over any number of broken streams."""

    def __init__(self, bench: "Bench", request_id: str, on_event: Callable[[Event], None]) -> None:
        super().__init__(daemon=True)
        self.request_id = request_id
        self.events: list[Event] = []
        self.heard_at_s: list[float] = []
        self.refusal = ""
        self._bench = bench
        self._on_event = on_event

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1].event in TERMINAL

    def run(self) -> None:
        deadline_s = time.monotonic() + RUN_TIMEOUT_S
        while not self.ended and not self.refusal and time.monotonic() < deadline_s:
            try:
                self._read()
            except httpx.HTTPError:
                time.sleep(RETRY_S)

    def _read(self) -> None:
        after = {"Last-Event-ID": self.events[-1].id} if self.events else {}
        path = f"/api/requests/{self.request_id}/events"
        with (
            self._bench.running.client() as client,
            client.stream("GET", path, headers=after) as stream,
        ):
            if stream.status_code >= 500:
                raise httpx.HTTPError("not now")
            if stream.status_code != 200:
                self.refusal = stream.read().decode()
                return
            for event in parse(stream.iter_lines()):
                self.events.append(event)
                self.heard_at_s.append(time.monotonic())
                self._on_event(event)


class Bench:
    """One appliance under torture; `running` is its present life."""

    def __init__(self, data: Path, *arguments: str, seed: int) -> None:
        self.data = data
        self.arguments = arguments
        self.draw = random.Random(seed)
        self.running = start(data, *arguments)
        self.seen = {process.pid: process for process in family(self.running.process.pid)}

    def undisturbed(self, text: str, options: dict[str, Any]) -> Ask:
        events = list(self.running.follow(self.running.ask(text, **options)))
        assert events[-1].event == "done", events[-1]
        pieces = sum(event.event == "delta" for event in events)
        return Ask(text, options, text_of(events), pieces)

    def run(self, asks: list[Ask], report: Report) -> None:
        """One run: everybody asks, one process dies, everybody must be answered."""
        self._ready()
        victim = self._victim(report.kind)
        chosen = self.draw.randrange(len(asks))
        countdown = self.draw.randrange(1, max(2, asks[chosen].pieces - 1))
        delay_s = self.draw.uniform(0, 0.03)
        due = threading.Event()
        readers: list[Reader] = []

        def listen(index: int) -> Callable[[Event], None]:
            heard = [0]

            def on_event(event: Event) -> None:
                heard[0] += event.event == "delta"
                # On a busy machine pieces are joined, so there may be fewer than undisturbed.
                if index == chosen and (heard[0] >= countdown or event.event in TERMINAL):
                    due.set()

            return on_event

        for index, ask in enumerate(asks):
            request_id = self.running.ask(ask.text, **ask.options)
            readers.append(Reader(self, request_id, listen(index)))
            readers[-1].start()
        if not due.wait(RUN_TIMEOUT_S):
            report.faults.append(f"run {report.runs}: nothing was heard to kill in")
        time.sleep(delay_s)
        killed_at_s = time.monotonic()
        self._kill(report.kind, victim, report)
        for reader in readers:
            reader.join(RUN_TIMEOUT_S)
        report.runs += 1
        for ask, reader in zip(asks, readers, strict=True):
            self._check(ask, reader, report, killed_at_s)

    def stop(self, report: Report) -> None:
        """Ends the appliance; nothing of any of its lives may be left."""
        self._remember()
        if self.running.stop() != 0:
            report.faults.append("the last stop was not in order")
        self._close()
        _, left = psutil.wait_procs(self.seen.values(), timeout=10)
        report.faults += [f"left behind: {process}" for process in left]

    # -- the victim

    def _ready(self) -> None:
        deadline_s = time.monotonic() + RUN_TIMEOUT_S
        while time.monotonic() < deadline_s:
            try:
                status = self.running.status()
            except (httpx.HTTPError, json.JSONDecodeError):
                status = {}
            states = [child["state"] for child in status.get("children", ())]
            if status.get("ready") and set(states) == {"ready"}:
                self._remember()
                return
            time.sleep(RETRY_S)
        raise AssertionError(f"not ready again: {status}")

    def _remember(self) -> None:
        for process in family(self.running.process.pid):
            self.seen[process.pid] = process

    def _victim(self, kind: str) -> int:
        if kind == "parent":
            return self.running.process.pid
        return int(self.running.child("worker-0" if kind == "worker" else "valkey")["pid"])

    def _kill(self, kind: str, victim: int, report: Report) -> None:
        others = family(self.running.process.pid)
        os.kill(victim, signal.SIGKILL)
        if kind != "parent":
            return
        self.running.process.wait()
        self._close()
        _, alive = psutil.wait_procs(others, timeout=10)
        report.faults += [f"run {report.runs}: outlived its parent: {one}" for one in alive]
        self.running = start(self.data, *self.arguments)

    def _close(self) -> None:
        for stream in (self.running.process.stdout, self.running.process.stderr):
            if stream is not None:
                stream.close()

    # -- the verdict

    def _check(self, ask: Ask, reader: Reader, report: Report, killed_at_s: float) -> None:
        report.requests += 1
        where = f"run {report.runs} {reader.request_id}"
        names = [event.event for event in reader.events]
        if sum(name in TERMINAL for name in names) != 1 or names[-1:] != ["done"]:
            last = reader.events[-1] if reader.events else None
            report.faults.append(f"{where}: did not end once and well: {last} {reader.refusal}")
            return
        ids = [tuple(map(int, event.id.split("-"))) for event in reader.events]
        if any(a >= b for a, b in itertools.pairwise(ids)):
            report.faults.append(f"{where}: its ids do not rise")
        heard = text_of(reader.events)
        if heard != ask.expected:
            self._parted(ask, heard, report, where)
        with self.running.client() as client:
            status = client.get(f"/api/requests/{reader.request_id}").json()
            turns = client.get(f"/api/sessions/{status['session_id']}/turns").json()["items"]
        if [turn["answer"] for turn in turns] != [heard]:
            report.faults.append(f"{where}: the stored turn is not what was heard")
        if reader.heard_at_s[-1] > killed_at_s:
            times = [killed_at_s, *(at for at in reader.heard_at_s if at > killed_at_s)]
            report.pauses_s.append(max(b - a for a, b in itertools.pairwise(times)))
        report.continued += status["attempt"] > 1

    def _parted(self, ask: Ask, heard: str, report: Report, where: str) -> None:
        if "fake" in self.arguments:
            at = common_length(heard, ask.expected)
            report.faults.append(
                f"{where}: {ask.text[:30]!r} parts after {at} characters: "
                f"{heard[at : at + 20]!r} for {ask.expected[at : at + 20]!r}"
            )
        else:
            report.parted.append(Parted(ask.text, ask.expected, heard))


def common_length(a: str, b: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(a), len(b)))


def bench_for(engine: str, data: Path, seed: int) -> Bench:
    """An appliance on a new directory, with the fake engine or the starter models."""
    data.mkdir(mode=0o700, exist_ok=True)
    settings = SETTINGS
    if engine == "llama":
        weights = platformdirs.user_cache_path("sluice") / "models"
        settings += f"[models]\ndirectory = {json.dumps(str(weights))}\n"
    (data / "settings.toml").write_text(settings, encoding="utf-8")
    arguments = ("--engine", "fake") if engine == "fake" else ()
    return Bench(data, *arguments, seed=seed)


def torture(kinds: Mapping[str, int], *, engine: str, users: int, seed: int) -> Iterator[Report]:
    """So many runs of each kind, all on one appliance; each kind's report when it is through."""
    with tempfile.TemporaryDirectory(prefix="sluice-torture-") as folder:
        bench = bench_for(engine, Path(folder) / "data", seed)
        asks = questions(bench, engine)
        report = Report("")
        for kind, runs in kinds.items():
            if report.kind:
                yield report
            report = Report(kind)
            for number in range(1, runs + 1):
                bench.run([bench.draw.choice(asks) for _ in range(users)], report)
                if number % 10 == 0:
                    say(f"{kind}: {number} of {runs} runs, {len(report.faults)} faults")
        bench.stop(report)
    yield report


def questions(bench: Bench, engine: str) -> list[Ask]:
    """The fake's answers do not depend on who is answered beside them; the model's may."""
    options: dict[str, Any] = {"faq": False, "temperature": 0}
    if engine != "fake":
        options["max_tokens"] = 48
        return [bench.undisturbed(text, options) for text in MODEL_QUESTIONS]
    stopped = options | {"stop": ["teen #"]}
    with concurrent.futures.ThreadPoolExecutor() as askers:
        whole = [askers.submit(bench.undisturbed, text, options) for text in FAKE_QUESTIONS]
        cut = askers.submit(bench.undisturbed, FAKE_QUESTIONS[0], stopped)
        return [one.result() for one in (*whole, cut)]


def judge_ties(report: Report) -> None:
    """Answers may part where two tokens nearly tie, and nowhere else."""
    from ties import Judge  # loads the model

    judge = Judge()
    for parted in sorted(set(report.parted), key=lambda one: (one.text, one.other)):
        tie = judge.tie(parted.text, parted.one, parted.other)
        say(f"{report.kind}: {parted.text[:24]!r}: {tie}")
        if not tie.near:
            report.faults.append(f"{parted.text!r} parts where tokens do not tie: {tie}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--users", type=int, default=5)
    parser.add_argument("--engine", choices=("fake", "llama"), default="fake")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    options = parser.parse_args()
    say(f"seed {options.seed}, {options.engine} engine, {options.users} users")
    reports: list[Report] = []
    runs = dict.fromkeys(options.kinds.split(","), options.runs)
    for report in torture(runs, engine=options.engine, users=options.users, seed=options.seed):
        reports.append(report)
        say("\n".join([HEAD, *(report.row() for report in reports)]))
    for report in reports:
        if report.parted:
            judge_ties(report)
        for line in report.faults:
            say(f"{report.kind}: {line}")
    return 1 if any(report.faults for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
