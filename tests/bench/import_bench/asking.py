"""Somebody who asks one question after another, and what that took."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx

PAUSE_S = 0.4
"""On average between an answer and the next question, so that they fall anywhere in an import."""
SHARES = (50, 95)


@dataclass(frozen=True)
class Answered:
    """`decision` says how the FAQ takes part."""

    took_ms: float
    decision: str


class Asker:
    """Asks alone; what is asked comes from `texts`."""

    def __init__(self, client: httpx.Client, texts: Iterator[str], chance: random.Random) -> None:
        self._client = client
        self._texts = texts
        self._chance = chance

    def ask(self, count: int) -> list[Answered]:
        return [self._one() for _ in range(count)]

    def ask_until(self, thread: threading.Thread) -> list[Answered]:
        """Until that has ended; only what was answered by then counts."""
        found = []
        while thread.is_alive():
            found.append(self._one())
        return found[:-1]

    def _one(self) -> Answered:
        time.sleep(self._chance.expovariate(1 / PAUSE_S))
        body, began_s = {"question": next(self._texts)}, time.monotonic()
        answer = self._client.post("/api/faq/test", json=body)
        took_ms = 1000 * (time.monotonic() - began_s)
        return Answered(took_ms, answer.raise_for_status().json()["decision"])


def table(phases: Mapping[str, Sequence[Answered]]) -> str:
    """Each phase with its ratios to the questions before and after."""
    quiet = [one.took_ms for name in ("before", "after") for one in phases[name]]
    lines = ["| | questions | p50, p95, most ms | p50, p95 to before and after | decisions |"]
    lines.append("|---|---|---|---|---|")
    for name, answered in phases.items():
        times = [one.took_ms for one in answered]
        figures = ", ".join(f"{_at(times, share):.0f}" for share in (*SHARES, 100))
        ratios = ", ".join(f"{_at(times, share) / _at(quiet, share):.2f}" for share in SHARES)
        decisions = Counter(one.decision for one in answered).most_common()
        told = ", ".join(f"{kind} {count}" for kind, count in decisions)
        lines.append(f"| {name} | {len(times):,} | {figures} | {ratios} | {told} |")
    return "\n".join(lines)


def _at(times: Sequence[float], share: int) -> float:
    """The time within which that share in a hundred was answered."""
    return sorted(times)[min(len(times) * share // 100, len(times) - 1)] if times else float("nan")
