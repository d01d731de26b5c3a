"""How long retrieval takes on the real servers, embedding left out: Valkey, Milvus Lite, and all.

Questions and phrasings are made of words drawn by their rank, vectors are drawn around a centre per
entry; ten phrasings an entry. What is timed is `Retrieval.search` with the vector at hand.
"""

import asyncio
import random
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Literal

import numpy as np

from appliance.bus.client import connect
from appliance.knowledge.entries import Entries
from appliance.knowledge.index import Index
from appliance.knowledge.metric import DIRECTIONS, Metric
from appliance.knowledge.retrieval import Embedded, Retrieval
from appliance.schema.faq import Entry as Record
from appliance.settings.faq import Faq
from appliance.vectors.client import Vectors

SIZE = 384
PER_ENTRY = 10
WORDS = 5_000
QUESTIONS = 200
WRITE_ENTRIES = 100
SETTLE_TIMEOUT_S = 3_600.0
START_TIMEOUT_S = 60.0
METRIC = Metric(np.full((DIRECTIONS, SIZE), 0.01, dtype=np.float32))
"""As large as one that was learned."""


class DrawnEmbedder:
    """A vector by chance, the same for the same text; texts of one entry lie near each other."""

    stamp = "drawn"
    size = SIZE

    async def embed(
        self,
        texts: Sequence[str],
        *,
        kind: Literal["query", "passage"],
        background: bool = False,
    ) -> Sequence[Sequence[float]]:
        return [drawn(text) for text in texts]


def drawn(text: str) -> list[float]:
    subject = text.partition(" ")[0]
    centre = np.random.default_rng(zlib.crc32(subject.encode())).normal(size=SIZE)
    own = np.random.default_rng(zlib.crc32(text.encode())).normal(size=SIZE)
    vector = centre + own
    return [float(x) for x in vector / np.linalg.norm(vector)]


async def timed(phrasings: int, url: str) -> list[float]:
    """Milliseconds of each question, sorted."""
    bus = connect(url)
    await bus.eval("return redis.call('FLUSHALL')", 0)
    entries = Entries(bus, 1_000_000)
    with milvus() as uri:
        vectors = await Vectors.open(uri, START_TIMEOUT_S)
        index = Index(entries, vectors, DrawnEmbedder())
        retrieval = Retrieval(entries, index, DrawnEmbedder(), Faq(), metric=lambda: METRIC)
        records = _records(phrasings // PER_ENTRY)
        for start in range(0, len(records), WRITE_ENTRIES):
            await entries.write(records[start : start + WRITE_ENTRIES])
        running = asyncio.create_task(index.run())
        if not await index.settled([record.id for record in records], SETTLE_TIMEOUT_S):
            raise SystemExit(f"not indexed: {(await index.status()).detail}")
        collection = (await vectors.collections())[0]
        await vectors.flush(collection)
        found = await _asked(retrieval, len(records))
        running.cancel()
        await asyncio.wait([running], timeout=5)
        await vectors.close()
    await bus.aclose()
    return sorted(found[QUESTIONS // 10 :])  # the first ones warm up


async def _asked(retrieval: Retrieval, entries: int) -> list[float]:
    chance = random.Random(2)
    found = []
    for _ in range(QUESTIONS):
        question = _text(chance, chance.randrange(entries))
        embedded = Embedded("drawn", drawn(question))
        before_s = time.perf_counter()
        await retrieval.search(question, limit=3, floor=-1.0, embedded=embedded)
        found.append(1_000 * (time.perf_counter() - before_s))
    return found


def _records(count: int) -> list[Record]:
    chance = random.Random(1)
    return [
        Record(
            id=f"e{n}",
            question=_text(chance, n),
            answer="An answer of a few words.",
            phrasings=tuple(_text(chance, n) for _ in range(PER_ENTRY - 1)),
            category="",
            language="en",
            state="published",
            version=1,
            created_at_ms=n,
            updated_at_ms=n,
        )
        for n in range(count)
    ]


def _text(chance: random.Random, subject: int) -> str:
    """Its subject, then eight words, common ones often."""
    words = (f"w{int(WORDS ** chance.random())}" for _ in range(8))
    return f"s{subject} {' '.join(words)}"


@contextmanager
def milvus() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        data, socket = Path(folder) / "data", Path(folder) / "milvus.sock"
        data.mkdir()
        command = [sys.executable, "-m", "appliance.vectors.server"]
        command += ["--directory", str(data), "--socket", str(socket)]
        with Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if b'"ready"' in line:
                        break
                yield f"unix:{socket}"
            finally:
                process.kill()
