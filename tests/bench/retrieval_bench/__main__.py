"""The command; see the package."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from retrieval_bench.ask import Outcome, ask
from retrieval_bench.busy import busy_engine
from retrieval_bench.latency import timed
from retrieval_bench.measures import Ranking
from retrieval_bench.page import put
from retrieval_bench.parts import CachedEmbedder, valkey
from retrieval_bench.sets import Set, load, sampled

QUESTIONS = 500
FOUND, TIMED = "What is found", "How long it takes"
HEADER = (
    "| set | entries, phrasings, questions | dense | BM25 | fused, weight of words "
    "| AUROC dense / BM25 / fused | direct: share, wrong | did you mean: share, not among them "
    "| no answer: share, wrong | others' recall@1 / @3 |\n|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="retrieval_bench", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder of computed vectors")
    parser.add_argument("--full", action="store_true", help="every question of every set")
    parser.add_argument("--only", default="", help="sets whose names begin so, comma-separated")
    parser.add_argument(
        "--latency", default="", metavar="N,...", help="only time it at so many phrasings"
    )
    parser.add_argument("--busy", action="store_true", help="time it beside a busy engine")
    parser.add_argument("--page", type=Path, help="keeps the table in this file, too")
    given = parser.parse_args()
    sizes = [int(count) for count in filter(None, given.latency.split(","))]
    heading, lines = (TIMED, latencies(sizes)) if sizes else (FOUND, found(given))
    said = []
    with busy_engine() if given.busy else contextlib.nullcontext():
        for line in lines:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            said.append(line)
    if given.page:
        put(given.page, heading, said)
    return 0


def found(given: argparse.Namespace) -> Iterator[str]:
    """The table of what is found and decided, line by line."""
    wanted = tuple(filter(None, given.only.split(",")))
    model = CachedEmbedder(given.cache)
    asked = "Every question" if given.full else f"At most {QUESTIONS} questions, drawn by a seed,"
    yield f"{asked} of each set.\n"
    yield HEADER
    with valkey() as url:
        for one in load(given.data):
            if wanted and not one.name.startswith(wanted):
                continue
            chosen = one if given.full else sampled(one, QUESTIONS)
            yield row(chosen, asyncio.run(ask(chosen, url, model)))
            model.save()


def latencies(sizes: Sequence[int]) -> Iterator[str]:
    """The table of how long retrieval takes, line by line."""
    yield "| phrasings | retrieval p50 | p95 | p99 ms, without the embedding |\n|---|---|---|---|"
    with valkey() as url:
        for phrasings in sizes:
            taken = asyncio.run(timed(phrasings, url))
            at = (taken[len(taken) * share // 100] for share in (50, 95, 99))
            yield f"| {phrasings:,} | " + " | ".join(f"{ms:.1f}" for ms in at) + " |"


def row(one: Set, outcome: Outcome) -> str:
    phrasings = sum(1 + len(entry.phrasings) for entry in one.entries)
    counts = f"{len(one.entries):,}, {phrasings:,}, {len(one.asked):,}"
    ranked = (outcome.dense, outcome.words, outcome.fused)
    surely = " / ".join("–" if way.auroc is None else f"{way.auroc:.3f}" for way in ranked)
    recalls = " | ".join(map(recall, ranked)) + f", {outcome.calibration.lexical:g}"
    decided = " | ".join(
        f"{outcome.decisions.share(kind):.1%}, {outcome.decisions.error_rate(kind):.1%}"
        for kind in ("direct", "did_you_mean", "no_answer")
    )
    return f"| {one.name} | {counts} | {recalls} | {surely} | {decided} | {one.published} |"


def recall(ranking: Ranking) -> str:
    return f"{ranking.recall_1:.3f} / {ranking.recall_3:.3f}"


if __name__ == "__main__":
    sys.exit(main())
