"""Keeps the calibration of the FAQ as it is now: made in the background, stored, made again.

It waits until the index is quiet, and goes to work when the embedding model is another one or a
good part of the phrasings has changed since. A bounded number of phrasings, drawn evenly, are asked
of the very index that people use, one at a time and when nobody asks, so that a person's search
waits for one of them at most, with a rest of three times as long after each. What it learned is
stored, and holds until something better is there; the calibration of another embedding model is
never used.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from appliance import keys
from appliance.bus.client import AWAY, Bus
from appliance.clock import now_ms
from appliance.errors import SluiceError
from appliance.knowledge.calibration import NOTHING_LEARNED, Sample, learned, sampled
from appliance.knowledge.entries import Entries
from appliance.knowledge.fusion import Candidate, Neighbourhood, Text
from appliance.knowledge.index import Index
from appliance.knowledge.metric import PLAIN, Floats, Metric, learned_metric
from appliance.knowledge.neighbours import Embedder
from appliance.knowledge.opposites import are_opposite
from appliance.knowledge.rows import PASSAGE, PlannedRow, planned_rows
from appliance.knowledge.words import is_spaced
from appliance.schema.faq import Calibration, Entry
from appliance.vectors.rows import entry_of

log = logging.getLogger(__name__)

SAMPLES = 1_000
RESTS = 3
"""As long as it worked, each."""
ROWS = 96
WORD_ROWS = 32
METRIC_ROWS = 2_000
METRIC_BATCH = 64
CHANGED_ROWS = 20
CHANGED_SHARE = 0.05


@dataclass(frozen=True)
class _Drawn:
    """A phrasing that will be asked, and its entry."""

    entry: Entry
    row: PlannedRow


class _Kept(msgspec.Struct, frozen=True):
    """As it is stored."""

    calibration: Calibration
    size: int
    drawn: bytes
    revision: int = -1
    began_at_ms: int = 0
    """Of the FAQ, and when: what was written since is not in it."""

    def metric(self) -> Metric:
        if not self.drawn:
            return PLAIN
        return Metric(np.frombuffer(self.drawn, dtype=np.float32).reshape(-1, self.size))


class Calibrator:
    """Owns the calibration. `run` is its one task."""

    def __init__(
        self,
        bus: Bus,
        entries: Entries,
        index: Index,
        embedder: Embedder,
        *,
        samples: int = SAMPLES,
        rests: float = RESTS,
    ) -> None:
        self._bus = bus
        self._entries = entries
        self._index = index
        self._embedder = embedder
        self._samples = samples
        self._rests = rests
        self._held = NOTHING_LEARNED
        self._metric = PLAIN
        self._written_before = 0
        self._made = asyncio.Event()
        self._learned: Callable[[str], None] = lambda cause: None

    def on_learned(self, listen: Callable[[str], None]) -> None:
        """Who is told, with the cause, that scores mean something else from now on."""
        self._learned = listen

    @property
    def current(self) -> Calibration:
        """What is known of the embedding model in use."""
        known = self._held.stamp == self._embedder.stamp
        return self._held if known else NOTHING_LEARNED

    @property
    def metric(self) -> Metric:
        """How vectors are compared, which is part of what scores mean."""
        known = self._held.stamp == self._embedder.stamp
        return self._metric if known else PLAIN

    async def run(self) -> None:
        """Calibrates whenever it is due, until cancelled."""
        stored = await self._stored()
        while True:
            try:
                stored = stored or await self._stored()
                if self._is_due():
                    await self.calibrate()
            except SluiceError as error:
                log.info("calibration: %s; it is tried again when the index changes", error.message)
            except AWAY as error:
                log.debug("calibration: store away (%s)", error)
            await self._index.moved()

    async def calibrate(self) -> Calibration:
        """Learns anew from what is indexed now. Raises what index, model and store raise."""
        stamp, written = self._embedder.stamp, self._index.rows_written
        revision, began_at_ms = await self._entries.revision(), now_ms()
        drawn, phrasings = await self._draw()
        metric = await self._compared(drawn)
        samples = await self._asked(drawn, metric)
        made_at_ms = now_ms()
        found = await asyncio.to_thread(
            learned, samples, stamp=stamp, phrasings=phrasings, at_ms=made_at_ms
        )
        if stamp == self._embedder.stamp:
            self._held, self._metric, self._written_before = found, metric, written
            size, vectors = metric.drawn.shape[1], metric.drawn.tobytes()
            kept = _Kept(found, size, vectors, revision, began_at_ms)
            await self._bus.set(keys.CALIBRATION, msgspec.msgpack.encode(kept))
            self._made.set()
            self._learned("a new calibration")
            if phrasings:
                log.info("calibrated on %d of %d phrasings", found.samples, phrasings)
        return found

    async def made(self) -> Calibration:
        """Waits for the first calibration of this run."""
        await self._made.wait()
        return self._held

    async def _stored(self) -> bool:
        """Takes up what an earlier run learned; False while the store cannot be asked."""
        try:
            raw = await self._bus.get(keys.CALIBRATION)
            if raw and not self._held.stamp:
                with contextlib.suppress(msgspec.DecodeError):  # an older version's: made anew
                    kept = msgspec.msgpack.decode(raw, type=_Kept)
                    self._held, self._metric = kept.calibration, kept.metric()
                    self._written_before = -await self._written_since(kept)
        except AWAY:
            return False
        return True

    async def _written_since(self, kept: _Kept) -> int:
        """Rows of entries that were written since this was learned, before this process began."""
        if await self._entries.revision() == kept.revision:
            return 0
        since_ms = kept.began_at_ms or kept.calibration.made_at_ms
        rows = 0
        async for batch in self._entries.all():
            rows += sum(len(planned_rows(one)) for one in batch if one.updated_at_ms >= since_ms)
        return rows

    def _is_due(self) -> bool:
        """Only when the index is quiet: what is half written teaches what is not so."""
        if self._index.degraded or not self._embedder.stamp:
            return False
        if self._held.stamp != self._embedder.stamp:
            return True
        bound = max(CHANGED_ROWS, CHANGED_SHARE * self._held.phrasings)
        written = self._index.rows_written - self._written_before
        grown = self._index.lexical.phrasings - self._held.phrasings
        return written >= bound or abs(grown) >= bound

    # -- asking the FAQ itself

    async def _draw(self) -> tuple[list[_Drawn], int]:
        """Evenly spread phrasings of entries that have another one, and how many there are."""
        phrasings = self._index.lexical.phrasings
        every = max(1, phrasings // self._samples)
        drawn: list[_Drawn] = []
        seen = 0
        async for batch in self._entries.all():
            for entry in batch:
                rows = [row for row in planned_rows(entry).values() if row.kind != PASSAGE]
                for row in rows:
                    seen += 1
                    if len(rows) > 1 and seen % every == 0 and len(drawn) < self._samples:
                        drawn.append(_Drawn(entry, row))
        return drawn, phrasings

    async def _compared(self, drawn: list[_Drawn]) -> Metric:
        """How vectors are compared here, learned from phrasings of the drawn entries."""
        entries = {each.entry.id: each.entry for each in drawn}
        share = max(2, METRIC_ROWS // max(len(entries), 1))
        by_entry = [
            [row.pk for row in planned_rows(entry).values() if row.kind != PASSAGE][:share]
            for entry in entries.values()
        ]
        wanted = [pk for pks in by_entry for pk in pks]
        vectors: dict[str, Floats] = {}
        for start in range(0, len(wanted), METRIC_BATCH):
            began_s = time.monotonic()
            found = await self._index.vectors_of(wanted[start : start + METRIC_BATCH])
            vectors |= {pk: np.asarray(vector, np.float32) for pk, vector in found.items()}
            await asyncio.sleep(time.monotonic() - began_s)
        held = ([vectors[pk] for pk in pks if pk in vectors] for pks in by_entry)
        groups = [np.stack(rows) for rows in held if rows]
        return await asyncio.to_thread(learned_metric, groups)

    async def _asked(self, drawn: list[_Drawn], metric: Metric) -> list[Sample]:
        samples: list[Sample] = []
        for each in drawn:
            await self._index.give_way()
            began_s = time.monotonic()
            sample = await self._ask(each, metric)
            if sample is not None:
                samples.append(sample)
            await asyncio.sleep(self._rests * (time.monotonic() - began_s))
        return samples

    async def _ask(self, drawn: _Drawn, metric: Metric) -> Sample | None:
        """None when the phrasing's row has gone in the meantime."""
        row = drawn.row
        vector = (await self._index.vectors_of([row.pk])).get(row.pk)
        if vector is None:
            return None
        rows = planned_rows(drawn.entry)
        near = await self._index.nominate(vector, ROWS)
        vectors = {nominee.pk: nominee.vector for nominee in near}
        by_words = [hit.pk for hit in self._index.lexical.search(row.text, WORD_ROWS)]
        missing = [pk for pk in {*rows, *by_words} if pk not in vectors]
        vectors |= await self._index.vectors_of(missing)
        told = await self._told(vectors)
        candidates = [
            Candidate(pk, entry_of(pk), self._text(told[pk].text, vectors[pk]))
            for pk in vectors
            if pk in told
        ]
        own = {row.pk}
        if row.text == drawn.entry.question:  # the row of question and answer says it, too
            own |= {pk for pk, other in rows.items() if other.kind == PASSAGE}
        asked = self._text(row.text, vector)
        opposed = frozenset(pk for pk in told if are_opposite(row.text, told[pk].phrasing))
        return await asyncio.to_thread(
            lambda: sampled(
                Neighbourhood(asked, candidates, metric),
                drawn.entry.id,
                own=frozenset(own),
                others=frozenset(rows.keys() - own),
                opposed=opposed,
            )
        )

    async def _told(self, vectors: Mapping[str, object]) -> dict[str, PlannedRow]:
        """The rows as their records have them."""
        ids = list(dict.fromkeys(map(entry_of, vectors)))
        records = await self._entries.many(ids)
        return {pk: row for entry in records for pk, row in planned_rows(entry).items()}

    def _text(self, text: str, vector: object) -> Text:
        return Text(
            np.asarray(vector, dtype=np.float32), self._index.lexical.words(text), is_spaced(text)
        )
