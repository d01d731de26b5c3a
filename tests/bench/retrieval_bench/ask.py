"""Asks a set's questions of the product's own retrieval, and of its two halves alone."""

import asyncio
from dataclasses import dataclass, field

from appliance.bus.client import connect
from appliance.knowledge.calibration import NOTHING_LEARNED, evidence
from appliance.knowledge.calibrator import Calibrator
from appliance.knowledge.centring import Centred
from appliance.knowledge.entries import Entries
from appliance.knowledge.index import Index
from appliance.knowledge.retrieval import Retrieval
from appliance.schema.faq import Calibration
from appliance.schema.faq import Entry as Record
from appliance.settings.faq import Faq
from appliance.vectors.rows import entry_of
from retrieval_bench.measures import Decisions, Ranking
from retrieval_bench.parts import CachedEmbedder, ExactVectors
from retrieval_bench.sets import Set

ROWS = 200
WRITE_ENTRIES = 50
SETTLE_TIMEOUT_S = 7_200.0


@dataclass
class Outcome:
    dense: Ranking = field(default_factory=Ranking)
    words: Ranking = field(default_factory=Ranking)
    fused: Ranking = field(default_factory=Ranking)
    decisions: Decisions = field(default_factory=Decisions)
    calibration: Calibration = NOTHING_LEARNED


async def ask(one: Set, url: str, model: CachedEmbedder) -> Outcome:
    """Fills an empty FAQ with the set's entries and asks everything."""
    bus = connect(url)
    await bus.eval("return redis.call('FLUSHALL')", 0)
    centred = Centred(bus, model)
    entries = Entries(bus, 1_000_000)
    index = Index(entries, ExactVectors(), centred)
    calibrator = Calibrator(bus, entries, index, centred, rests=0)  # nobody else asks
    retrieval = Retrieval(
        entries,
        index,
        centred,
        Faq(),
        calibration=lambda: calibrator.current,
        metric=lambda: calibrator.metric,
    )
    label_of = {f"e{n}": entry.label for n, entry in enumerate(one.entries)}
    records = _records(one)
    for start in range(0, len(records), WRITE_ENTRIES):
        await entries.write(records[start : start + WRITE_ENTRIES])
    running = asyncio.create_task(index.run())
    try:
        if not await index.settled(list(label_of), SETTLE_TIMEOUT_S):
            raise SystemExit(f"{one.name}: not indexed: {(await index.status()).detail}")
        outcome = Outcome(calibration=await calibrator.calibrate())
        await _ask(one, label_of, index, retrieval, outcome)
        return outcome
    finally:
        running.cancel()
        await asyncio.wait([running], timeout=5)
        await bus.aclose()


def _records(one: Set) -> list[Record]:
    return [
        Record(
            id=f"e{n}",
            question=entry.question,
            answer=entry.answer,
            phrasings=entry.phrasings,
            category="",
            language="",
            state="published",
            version=1,
            created_at_ms=n,
            updated_at_ms=n,
        )
        for n, entry in enumerate(one.entries)
    ]


async def _ask(
    one: Set, label_of: dict[str, str], index: Index, retrieval: Retrieval, outcome: Outcome
) -> None:
    for asked in one.asked:
        embedded = await retrieval.embedded(asked.text)
        near = await index.nominate(embedded.vector, ROWS)
        labels = list(dict.fromkeys(label_of[entry_of(row.pk)] for row in near))
        outcome.dense.add(asked.label, labels, near[0].score)
        hits = index.lexical.search(asked.text, ROWS)
        labels = list(dict.fromkeys(label_of[entry_of(hit.pk)] for hit in hits))
        outcome.words.add(asked.label, labels, hits[0].score if hits else 0.0)
        found = await retrieval.search(asked.text, limit=3, floor=-1.0, embedded=embedded)
        labels = [label_of[match.id] for match in found.matches]
        outcome.fused.add(asked.label, labels, evidence([one.score for one in found.matches]))
        made = retrieval.decided(asked.text, found)
        chosen = [label_of[match.id] for match in made.matches]
        right = asked.label in chosen if asked.label else made.decision == "no_answer"
        outcome.decisions.add(str(made.decision), right=right)
