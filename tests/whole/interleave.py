"""Edits, deletions and questions side by side, while Milvus or the whole appliance is killed.

Each round changes one entry, by lot: written anew, deleted, or made again. While that is under way
others ask for it; when it is acknowledged they ask again, also in the moment in which the index or
the parent has been killed. Every text an entry ever had carries a mark of its own. Nothing that a
question brings (its entries, its answer) may show a mark that was replaced or deleted before it
was asked. What a killed parent did not acknowledge may be as it was or as it was to be, until
somebody reads it.

    python tests/whole/interleave.py --runs 1000 --seed 1

prints one line and exits with status 1 when a stale or deleted text was shown.
"""

import argparse
import concurrent.futures
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from conftest import family, parse, start

ASKERS = 3
PATIENCE_S = 60.0
MILVUS_SHARE, PARENT_SHARE = 0.04, 0.01  # of rounds that kill it
SETTINGS = """
[supervision]
restart_window_s = 1
"""
THINGS = (
    ("the loft key", "kept"),
    ("the bicycle pump", "stored"),
    ("the projector remote", "lying"),
    ("the first aid box", "hanging"),
    ("the garden hose", "rolled up"),
    ("the spare monitor", "locked away"),
)
SACHEN = ("备用钥匙", "打印纸", "会议室遥控器", "灭火器", "工具箱", "访客证")


@dataclass
class Topic:
    """One question and the entry that answers it now. `mark` is "" while there is none.

    `unsure` are marks that an unanswered edit may have left.
    """

    question: str
    entry_id: str = ""
    mark: str = ""
    unsure: set[str] = field(default_factory=set)


@dataclass
class Report:
    rounds: int = 0
    asked: int = 0
    found: int = 0
    milvus_killed: int = 0
    parent_killed: int = 0
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"{self.rounds} rounds, {self.asked} questions, {self.found} found their entry, "
            f"Milvus killed {self.milvus_killed} times, the appliance {self.parent_killed} times, "
            f"{len(self.faults)} faults"
        )


class Interleaving:
    """One appliance with the fake engine; `running` is its present life."""

    def __init__(self, data: Path, seed: int) -> None:
        (data / "settings.toml").write_text(SETTINGS, encoding="utf-8")
        self.data = data
        self.draw = random.Random(seed)
        self.report = Report()
        self.marks: Iterator[str] = (f"mark-{number:05d}-end" for number in itertools.count(1))
        self.stale: set[str] = set()
        self.running = start(data, "--engine", "fake")
        english = [f"Where is {thing} {how}?" for thing, how in THINGS]
        self.topics = [Topic(text) for text in (*english, *(f"{one}放在哪里？" for one in SACHEN))]
        self.askers = concurrent.futures.ThreadPoolExecutor(ASKERS)

    def round(self, kill: str) -> None:
        """One change with questions beside it, `milvus` or `parent` killed; questions after it."""
        self.report.rounds += 1
        topic = self.draw.choice(self.topics)
        beside = [self.askers.submit(self._ask, topic, set(self.stale)) for _ in range(ASKERS - 1)]
        killing = self.askers.submit(self._kill, kill, self.draw.uniform(0.0, 0.05))
        self._change(topic)
        killing.result()
        if kill == "parent":
            self._begin_again()
            for one in self.topics:
                self._read(one)
        after = [self.askers.submit(self._ask, topic, set(self.stale)) for _ in range(ASKERS - 1)]
        for asked in (*beside, *after):
            asked.result()

    def stop(self) -> Report:
        self.askers.shutdown()
        if self.running.stop() != 0:
            self.report.faults.append("the last stop was not in order")
        self._close()
        return self.report

    # -- changes

    def _change(self, topic: Topic) -> None:
        before, self_mark = topic.mark, next(self.marks)
        body = {"question": topic.question, "answer": f"In room {self_mark}."}
        delete = bool(topic.mark) and self.draw.random() < 0.3
        try:
            with self.running.client() as client:
                if delete:
                    answer = client.delete(f"/api/faq/{topic.entry_id}")
                elif topic.mark:
                    answer = client.put(f"/api/faq/{topic.entry_id}", json=body)
                else:
                    answer = client.post("/api/faq", json=body)
        except httpx.HTTPError:  # the parent died, and whether it was done is not known
            topic.unsure = {before, "" if delete else self_mark}
            return
        if answer.status_code >= 500:
            topic.unsure = {before, "" if delete else self_mark}
            return
        assert answer.is_success, answer.text
        topic.mark = "" if delete else self_mark
        topic.entry_id = "" if delete else answer.json()["id"]
        self.stale |= {before} - {""}

    def _read(self, topic: Topic) -> None:
        """What an unanswered change has left is known once it is read."""
        if not topic.unsure:
            return
        with self.running.client() as client:
            page = client.get("/api/faq", params={"limit": 100}).json()["items"]
        held = [entry for entry in page if entry["question"] == topic.question]
        assert len(held) <= 1, held
        topic.mark = held[0]["answer"].split()[2].rstrip(".") if held else ""
        topic.entry_id = held[0]["id"] if held else ""
        if topic.mark not in topic.unsure:
            self.report.faults.append(f"{topic.question}: neither as before nor as changed: {held}")
        self.stale |= topic.unsure - {topic.mark, ""}
        topic.unsure = set()

    # -- questions

    def _ask(self, topic: Topic, stale: set[str]) -> None:
        """Asks; `stale` is what had been replaced or deleted by then."""
        try:
            shown = self._shown(topic.question)
        except httpx.HTTPError:  # the parent was killed
            return
        self.report.asked += 1
        self.report.found += "mark-" in shown
        for mark in stale:
            if mark in shown:
                self.report.faults.append(
                    f"round {self.report.rounds}: {topic.question} was shown {mark}"
                )

    def _shown(self, question: str) -> str:
        """Everything that the asker is sent."""
        with self.running.client() as client:
            session = client.post("/api/sessions", json={"uid": "asker"}).json()["id"]
            answer = client.post(f"/api/sessions/{session}/messages", json={"text": question})
            if answer.status_code >= 500:
                raise httpx.HTTPError("not now")
            assert answer.status_code == 202, answer.text
            with client.stream("GET", answer.json()["events"]) as stream:
                events = list(parse(stream.iter_lines()))
            client.delete(f"/api/sessions/{session}")
        return str([event.data for event in events])

    # -- kills

    def _kill(self, kill: str, delay_s: float) -> None:
        time.sleep(delay_s)
        if kill == "parent":
            self._kill_parent()
        elif kill and (pid := self.running.child("milvus")["pid"]):
            os.kill(int(pid), signal.SIGKILL)
            self.report.milvus_killed += 1

    def _kill_parent(self) -> None:
        others = family(self.running.process.pid)
        self.running.process.kill()
        self.running.process.wait()
        deadline_s = time.monotonic() + PATIENCE_S
        while any(one.is_running() and one.status() != "zombie" for one in others[1:]):
            assert time.monotonic() < deadline_s, "children outlived their parent"
            time.sleep(0.02)
        self.report.parent_killed += 1

    def _begin_again(self) -> None:
        self._close()
        self.running = start(self.data, "--engine", "fake")

    def _close(self) -> None:
        for stream in (self.running.process.stdout, self.running.process.stderr):
            if stream is not None:
                stream.close()


def kills(runs: int, seed: int) -> list[str]:
    """What is killed in each of so many rounds: mostly nothing."""
    weights = (PARENT_SHARE, MILVUS_SHARE, 1 - PARENT_SHARE - MILVUS_SHARE)
    return random.Random(seed).choices(("parent", "milvus", ""), weights, k=runs)


def interleave(killed: list[str], seed: int, say: Any = lambda report: None) -> Report:
    """As many rounds on one new appliance."""
    with tempfile.TemporaryDirectory(prefix="sluice-interleave-") as folder:
        data = Path(folder) / "data"
        data.mkdir(mode=0o700)
        rounds = Interleaving(data, seed)
        for kill in killed:
            rounds.round(kill)
            say(rounds.report)
        return rounds.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="interleave", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    def say(report: Report) -> None:
        if report.rounds % 100 == 0:
            sys.stdout.write(report.line() + "\n")
            sys.stdout.flush()

    report = interleave(kills(given.runs, given.seed), given.seed, say)
    sys.stdout.write("".join(f"{fault}\n" for fault in report.faults) + report.line() + "\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
