"""Saved questions with the entry that should answer them, asked again after every change.

One task asks all of them by the path that answers people, once the index has caught up with an
edit or an import, after a start (thresholds may have changed), for a new index or embedding model
and for a new calibration. What was found without the vectors is no outcome: then all wait. A
question flips when its outcome is another than the time before; the runs that flipped something
are kept with their flips, up to a bound.
"""

import asyncio
import contextlib
import logging

import msgspec

from appliance import keys
from appliance.bus.client import AWAY, Bus
from appliance.bus.script import Script
from appliance.clock import now_ms
from appliance.errors import Invalid, NotFound, SluiceError, Unavailable
from appliance.knowledge.entries import Changed, Entries, first_version
from appliance.knowledge.index import Index
from appliance.knowledge.retrieval import Embedded, Retrieval, Supposed
from appliance.knowledge.text import tidied, tidied_line
from appliance.schema.curation import (
    Flip,
    Outcome,
    Regression,
    RegressionPost,
    RegressionPreview,
    RegressionRun,
)
from appliance.schema.faq import EntryPut

log = logging.getLogger(__name__)

SETTLE_TIMEOUT_S = 600.0
RETRY_S = 5.0
RUNS_KEPT = 50

# KEYS regressions; ARGV id, body of each: writes those which are there still
_SAVE = Script("""
for i = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return 1
""")


class Regressions:
    """At most `bound` questions. `run` is the one task that asks them."""

    def __init__(
        self, bus: Bus, entries: Entries, index: Index, retrieval: Retrieval, *, bound: int
    ) -> None:
        self._bus = bus
        self._entries = entries
        self._index = index
        self._retrieval = retrieval
        self._bound = bound
        self._embedded: dict[str, Embedded] = {}
        self._causes: list[str] = ["start"]
        self._woken = asyncio.Event()
        self._woken.set()
        self._ran = asyncio.Event()
        entries.on_change(self._on_change)
        index.on_switched(self.again)

    async def add(self, post: RegressionPost) -> Regression:
        """Saves a question, with its outcome unless part of retrieval is away: then it is asked
        later. Raises NotFound for an unknown entry, Invalid past the bound."""
        if post.entry_id:
            await self._entries.read(post.entry_id)
        question = tidied_line(post.question)
        if not question:
            raise Invalid(
                "question: nothing but white space",
                hint="write the question",
                reason="blank_field",
                facts={"field": "question"},
            )
        saved = Regression(
            id=keys.new_regression_id(), question=question, entry_id=post.entry_id, outcome=None
        )
        if len(await self.listed()) >= self._bound:
            raise Invalid(
                f"at most {self._bound} regression questions are kept",
                hint="delete some, or raise curation.regressions_bound in the settings",
                reason="regressions_full",
                facts={"bound": self._bound},
            )
        try:
            saved = msgspec.structs.replace(saved, outcome=await self._ask(saved))
        except Unavailable:
            self.again("a new question")
        body = msgspec.json.encode(saved)
        await self._bus.hset(keys.REGRESSIONS, mapping={saved.id: body})
        return saved

    async def listed(self) -> list[Regression]:
        """Those which fail first, then by question."""
        fields = await self._bus.hgetall(keys.REGRESSIONS)
        found = [msgspec.json.decode(body, type=Regression) for body in fields.values()]
        return sorted(found, key=lambda r: (bool(r.outcome and r.outcome.passed), r.question))

    async def delete(self, regression_id: str) -> None:
        """Raises NotFound."""
        if not await self._bus.hdel(keys.REGRESSIONS, regression_id):
            raise NotFound(
                f"no regression question {regression_id}",
                hint="list them with GET /api/faq/regressions",
                reason="no_regression",
            )

    async def runs(self) -> list[RegressionRun]:
        """The last run and those that flipped something, newest first."""
        rows = await self._bus.lrange(keys.REGRESSION_RUNS, 0, RUNS_KEPT - 1)
        return [msgspec.json.decode(row, type=RegressionRun) for row in rows]

    async def run(self) -> None:
        """Asks after every change until cancelled; changes that come together are one run."""
        told = ""  # what keeps them waiting is told once
        while True:
            await self._woken.wait()
            self._woken.clear()
            causes, self._causes = self._causes, []
            try:
                if not await self._index.opened(SETTLE_TIMEOUT_S):
                    raise Unavailable(
                        self._index.degraded,
                        reason="faq_degraded",
                        facts={"detail": self._index.degraded},
                    )
                await self._index.settled(await self._entries.unindexed(), SETTLE_TIMEOUT_S)
                await self._run_all(", ".join(dict.fromkeys(causes)) or "change")
                self._ran.set()
                told = ""
            except (*AWAY, SluiceError) as error:
                if str(error) != told:
                    log.info("regression questions wait: %s", error)
                told = str(error)
                self._causes = causes + self._causes
                await asyncio.sleep(RETRY_S)
                self._woken.set()
            except Exception:
                log.exception("regression questions failed")

    async def previewed(self, put: EntryPut, entry_id: str = "") -> RegressionPreview:
        """What would flip if this entry were published as it is written here, or in the place of
        an existing one; nothing is stored.

        Raises Invalid for an empty text, NotFound for an unknown entry, Unavailable while the
        embedding model or the index is away.
        """
        if entry_id:
            await self._entries.read(entry_id)
        entry = first_version(tidied(put), at_ms=now_ms(), entry_id=entry_id)
        questions = await self.listed()
        supposed = await self._retrieval.suppose(entry) if questions else None
        flips: list[Flip] = []
        passed = failed = 0
        for saved in questions:
            before = await self._ask(saved)
            now = await self._ask(saved, supposed)
            passed, failed = passed + now.passed, failed + (not now.passed)
            if _differs(before, now):
                flips.append(Flip(id=saved.id, question=saved.question, was=before, now=now))
        return RegressionPreview(
            entry_id=entry.id, passed=passed, failed=failed, flips=tuple(flips)
        )

    def again(self, cause: str) -> None:
        """Has all of them asked again."""
        if cause not in self._causes:
            self._causes.append(cause)
        self._woken.set()

    async def settled(self, timeout_s: float) -> bool:
        """Waits for the end of the next run; False when that takes longer."""
        self._ran.clear()
        self.again("asked for")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ran.wait()
                return True
        return False

    def _on_change(self, changed: Changed) -> None:
        self.again("import" if len(changed) > 1 else f"edit of {next(iter(changed))}")

    async def _run_all(self, cause: str) -> None:
        flips: list[Flip] = []
        bodies: list[str | bytes] = []
        passed = failed = 0
        asked = [(saved, await self._ask(saved)) for saved in await self.listed()]
        for saved, outcome in asked:
            passed, failed = passed + outcome.passed, failed + (not outcome.passed)
            before = saved.outcome
            if before is not None and _differs(before, outcome):
                flips.append(Flip(id=saved.id, question=saved.question, was=before, now=outcome))
            now = msgspec.structs.replace(saved, outcome=outcome)
            bodies += [saved.id, msgspec.json.encode(now)]
        if bodies:
            await _SAVE.run(self._bus, (keys.REGRESSIONS,), *bodies)
        if passed or failed:
            await self._note(
                RegressionRun(
                    at_ms=now_ms(),
                    cause=cause[:200],
                    passed=passed,
                    failed=failed,
                    flips=tuple(flips),
                )
            )

    async def _note(self, done: RegressionRun) -> None:
        """A run without flips takes the place of the one before it without any."""
        latest = await self._bus.lrange(keys.REGRESSION_RUNS, 0, 0)
        pipeline = self._bus.pipeline(transaction=True)
        if latest and not msgspec.json.decode(latest[0], type=RegressionRun).flips:
            pipeline.lpop(keys.REGRESSION_RUNS)
        pipeline.lpush(keys.REGRESSION_RUNS, msgspec.json.encode(done))
        pipeline.ltrim(keys.REGRESSION_RUNS, 0, RUNS_KEPT - 1)
        await pipeline.execute()

    async def _ask(self, saved: Regression, supposed: Supposed | None = None) -> Outcome:
        """Asks by the path that answers people. Raises Unavailable when that is degraded."""
        embedded = self._embedded.get(saved.question)
        if embedded is None or embedded.stamp != self._retrieval.stamp:
            embedded = await self._retrieval.embedded(saved.question)
            if len(self._embedded) >= self._bound:
                self._embedded.clear()
            self._embedded[saved.question] = embedded
        found = await self._retrieval.closest(saved.question, embedded, supposed=supposed)
        if found.degraded:
            raise Unavailable(
                found.degraded,
                hint="wait until the FAQ is indexed",
                reason="faq_degraded",
                facts={"detail": found.degraded},
            )
        best = found.matches[0] if found.matches else None
        entry_id = best.id if best else ""
        return Outcome(
            entry_id=entry_id,
            score=best.score if best else 0.0,
            passed=entry_id == saved.entry_id,
            at_ms=now_ms(),
        )


def _differs(before: Outcome, now: Outcome) -> bool:
    return (before.entry_id, before.passed) != (now.entry_id, now.passed)
