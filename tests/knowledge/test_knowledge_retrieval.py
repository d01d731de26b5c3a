"""The index nominates, the record decides; and an answer never fails for want of the FAQ."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import msgspec
import pytest
from knowledge_rig import WAIT_S, HashingEmbedder, MemoryVectors, Rig, entry_put, rig

from appliance.bus.client import Bus
from appliance.knowledge.calibration import NOTHING_LEARNED
from appliance.knowledge.decision import NEAR_BEST
from appliance.knowledge.imports import import_file
from appliance.knowledge.near import Near
from appliance.knowledge.retrieval import Only, Retrieval
from appliance.schema.faq import EntryPut
from appliance.settings.faq import Faq

pytestmark = pytest.mark.integration


@pytest.fixture
def vectors() -> MemoryVectors:
    return MemoryVectors()


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def parts(bus: Bus, vectors: MemoryVectors, embedder: HashingEmbedder) -> Rig:
    return rig(bus, vectors, embedder)


async def test_every_edit_is_live_at_the_next_search(parts: Rig) -> None:
    async with parts.running():
        assert await parts.search("Where is the bicycle cellar?") == []
        made = await parts.entries.create(entry_put("Where is the bicycle cellar?"))
        await parts.settled()
        assert await parts.search("where are the bicycle cellars") == [made.id]
        await parts.entries.replace(made.id, entry_put("How do refunds work?"))
        await parts.settled()
        assert await parts.search("where are the bicycle cellars") == []
        assert await parts.search("How does a refund work?") == [made.id]
        await parts.entries.delete(made.id)
        await parts.settled()
        assert await parts.search("How do refunds work?") == []


async def test_an_answer_comes_from_the_record_even_before_the_index_knows_it(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        made = await parts.entries.create(entry_put("Where is the key?", "In room 7."))
        await parts.settled()
        vectors.gate.clear()
        await parts.entries.replace(made.id, entry_put("Where is the key?", "In room 8."))
        found = await parts.retrieval.search("Where is the key?", floor=0.5)
        assert [match.answer for match in found.matches] == ["In room 8."]
        assert "still being indexed" in found.degraded
        vectors.gate.set()


@pytest.mark.parametrize("gate", ["edits", "an import"])
async def test_what_is_saved_is_found_by_its_words_before_its_rows_are_made(
    parts: Rig, vectors: MemoryVectors, gate: str
) -> None:
    """The index is held up in the middle of other entries."""
    async with parts.running():
        await parts.entries.create(entry_put("How do refunds work?"))
        await parts.settled()
        vectors.gate.clear()
        if gate == "edits":
            await parts.entries.create(entry_put("Where is the bicycle cellar?"))
        else:
            rows = "".join(f'{{"question":"Number {n}?","answer":"a"}}\n' for n in range(100))
            await import_file(parts.entries, rows.encode(), "jsonl")
        await vectors.waited.wait()
        made = await parts.entries.create(entry_put("When does the canteen close?"))
        exact = await parts.retrieval.exact("when does the canteen close")
        assert (exact.decision, [match.id for match in exact.matches]) == ("direct", [made.id])
        found = await parts.retrieval.closest("At what time does our canteen close?")
        assert [match.id for match in found.matches][:1] == [made.id]
        assert found.matches[0].by_words
        assert found.decision == "compose"
        await parts.entries.replace(made.id, entry_put("Who mends coffee machines?"))
        assert made.id not in await ids_of(parts, "When does the canteen close?")
        assert made.id in await ids_of(parts, "Who can mend coffee machines?")
        await parts.entries.delete(made.id)
        assert made.id not in await ids_of(parts, "Who mends coffee machines?")
        vectors.gate.set()
        await parts.settled()


def certain(parts: Rig) -> Retrieval:
    """Finds what `parts` hold, and answers directly where meaning speaks for one entry."""
    learned = msgspec.structs.replace(NOTHING_LEARNED, direct_bar=0.2)
    embedder = HashingEmbedder()
    return Retrieval(parts.entries, parts.index, embedder, Faq(), calibration=lambda: learned)


async def test_a_certain_answer_stays_one_while_an_import_is_taken_up(
    parts: Rig, vectors: MemoryVectors
) -> None:
    rows = "".join(f'{{"question":"Number {n}?","answer":"a"}}\n' for n in range(100))
    async with parts.running():
        await parts.entries.create(entry_put("How do refunds work?"))
        await parts.settled()
        vectors.gate.clear()
        await import_file(parts.entries, rows.encode(), "jsonl")
        await vectors.waited.wait()
        found = await certain(parts).closest("How do the refunds work?")
        assert "still being indexed" in found.degraded
        assert found.decision == "direct"
        vectors.gate.set()


async def test_nothing_is_certain_while_lost_rows_are_made_again(
    bus: Bus, parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    async with parts.running():
        await parts.entries.create(entry_put("How do refunds work?"))
        other = await parts.entries.create(entry_put("Where is the bicycle cellar?"))
        await parts.settled()
    for pk in [pk for pk in vectors.only() if pk.startswith(other.id)]:
        del vectors.only()[pk]
    vectors.gate.clear()
    again = rig(bus, vectors, embedder)
    async with again.started():
        await vectors.waited.wait()
        found = await certain(again).closest("How do the refunds work?")
        assert found.decision == "compose"
        vectors.gate.set()
        async with asyncio.timeout(WAIT_S):
            while not again.index.is_whole:
                await again.index.moved()
        found = await certain(again).closest("How do the refunds work?")
        assert found.decision == "direct"


async def ids_of(parts: Rig, question: str) -> list[str]:
    return [match.id for match in (await parts.retrieval.search(question)).matches]


async def test_a_draft_is_not_found(parts: Rig) -> None:
    draft = EntryPut(question="Where is the key?", answer="?", state="draft")
    async with parts.running():
        made = await parts.entries.create(draft)
        await parts.settled()
        assert await parts.search("Where is the key?") == []
        await parts.entries.replace(made.id, entry_put())
        await parts.settled()
        assert await parts.search("Where is the key?") == [made.id]


@pytest.mark.parametrize("change", ["deleted", "drafted", "reworded", "moved to a category"])
async def test_a_stale_nominee_is_never_returned(
    parts: Rig, vectors: MemoryVectors, change: str
) -> None:
    async with parts.running():
        made = await parts.entries.create(entry_put("Where is the key?"))
        await parts.settled()
        vectors.gate.clear()  # the index falls behind
        rows = dict(vectors.only())
        if change == "deleted":
            await parts.entries.delete(made.id)
        elif change == "drafted":
            put = EntryPut(question=made.question, answer=made.answer, state="draft")
            await parts.entries.replace(made.id, put)
        elif change == "reworded":
            await parts.entries.replace(made.id, entry_put("How do refunds work?"))
        else:
            put = EntryPut(question=made.question, answer=made.answer, category="c")
            await parts.entries.replace(made.id, put)
        vectors.only().update(rows)
        found = await parts.retrieval.search("Where is the key?", floor=-1.0)
        moved = change == "moved to a category"  # words find it where it is now
        assert [match.category for match in found.matches] == (["c"] if moved else [])
        assert vectors.searches
        vectors.gate.set()


async def test_a_row_that_names_another_entry_is_not_believed(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        one = await parts.entries.create(entry_put("Where is the key?"))
        other = await parts.entries.create(entry_put("How do refunds work?"))
        await parts.settled()
        row = next(row for row in vectors.only().values() if row.pk.startswith(one.id))
        forged = f"{other.id}:{row.digest}"
        vectors.only()[forged] = replace(row, pk=forged, entry_id=forged)
        assert await parts.search("Where is the key?", floor=0.9) == [one.id]


async def test_the_best_phrasing_of_an_entry_speaks_for_it(parts: Rig) -> None:
    async with parts.running():
        made = await parts.entries.create(
            EntryPut(
                question="Access card lost",
                answer="Room A-102.",
                phrasings=("My badge has disappeared", "Gate stays closed"),
                category="Facilities",
            )
        )
        await parts.settled()
        found = await parts.retrieval.search("my badge disappeared!", floor=0.3)
        (match,) = found.matches
        assert (match.id, match.question) == (made.id, "Access card lost")
        assert match.phrasing == "My badge has disappeared"
        assert (match.answer, match.category, match.language) == ("Room A-102.", "Facilities", "en")
        assert 0.3 < match.score < 1.0


async def test_the_same_text_scores_one_whatever_its_writing(parts: Rig) -> None:
    async with parts.running():
        await parts.entries.create(
            EntryPut(question="Badge lost", answer="A-102", phrasings=("ＷＬＡＮ　密码是什么？",))
        )
        await parts.settled()
        found = await parts.retrieval.search(" wlan 密码是什么 ", floor=-1.0)
        (match,) = found.matches
        assert (match.phrasing, match.score) == ("ＷＬＡＮ 密码是什么？", 1.0)


async def test_entries_are_distinct_sorted_and_bounded(parts: Rig) -> None:
    async with parts.running():
        for n in range(12):
            put = EntryPut(question=f"Key {n}?", answer="x", phrasings=(f"Where is key {n}?",))
            await parts.entries.create(put)
        await parts.settled()
        found = await parts.retrieval.search("Where is key 3?", limit=10, floor=-1.0)
        scores = [match.score for match in found.matches]
        assert len({match.id for match in found.matches}) == 10
        assert scores == sorted(scores, reverse=True)
        assert (found.matches[0].question, found.matches[0].score) == ("Key 3?", 1.0)
        by_default = await parts.retrieval.search("key", floor=-1.0)
        assert len(by_default.matches) == Faq().matches


async def test_an_entry_with_many_near_phrasings_leaves_room_for_others(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        phrasings = tuple(f"Where is the key, version {n}?" for n in range(64))
        near = await parts.entries.create(
            EntryPut(question="Where is the key?", answer="x", phrasings=phrasings)
        )
        far = await parts.entries.create(entry_put("How do refunds work?", "Slowly."))
        await parts.settled()
        found = await parts.retrieval.search("Where is the key, please?", limit=2, floor=-1.0)
        assert [match.id for match in found.matches] == [near.id, far.id]
        assert vectors.searches == 2


async def test_matches_below_the_floor_do_not_count(bus: Bus, vectors: MemoryVectors) -> None:
    strict = rig(bus, vectors, HashingEmbedder(), faq=Faq(floor=0.99))
    async with strict.running():
        made = await strict.entries.create(entry_put("Where is the key?"))
        await strict.settled()
        assert (await strict.retrieval.search("Where are the keys kept?")).matches == ()
        found = await strict.retrieval.search("Where is the key?")
        assert [match.id for match in found.matches] == [made.id]


@pytest.mark.parametrize("question", ["", "  \n", "\x00"])
async def test_nothing_asked_finds_nothing(parts: Rig, question: str) -> None:
    async with parts.running():
        found = await parts.retrieval.search(question)
        assert (found.matches, found.degraded) == ((), "")


async def test_a_question_of_any_length_is_searched(parts: Rig) -> None:
    async with parts.running():
        made = await parts.entries.create(entry_put())
        await parts.settled()
        found = await parts.retrieval.search("key " * 8_000, floor=-1.0)
        assert [match.id for match in found.matches] == [made.id]


async def test_only_entries_of_the_category_language_and_period_are_found(parts: Rig) -> None:
    async with parts.running():
        made = [
            await parts.entries.create(
                EntryPut(question="Where is the key?", answer="x", category=category, language=one)
            )
            for category, one in (("house", "en"), ("house", "de"), ("car", "en"))
        ]
        await parts.entries.create(
            EntryPut(question="Where is the key?", answer="old", valid_until="2001-01-01")
        )
        await parts.settled()

        async def found(only: Only) -> set[str]:
            result = await parts.retrieval.search("Where is the key", limit=9, floor=0.5, only=only)
            return {match.id for match in result.matches}

        assert await found(Only()) == {one.id for one in made}
        assert await found(Only(category="house")) == {made[0].id, made[1].id}
        assert await found(Only(language="en")) == {made[0].id, made[2].id}
        assert await found(Only(category="car", language="de")) == set()


# -- without its neighbours


async def test_before_the_index_runs_there_are_no_matches_and_the_reason(
    bus: Bus, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    parts = rig(bus, vectors, embedder, faq=Faq(retrieval_timeout_s=0.05))
    found = await parts.retrieval.search("Where?")
    assert (found.matches, found.degraded) == ((), "the FAQ index is starting")


@pytest.mark.parametrize("away", ["model", "refusing model", "vectors", "collection"])
async def test_without_vectors_words_find_what_they_can_and_the_reason_is_told(
    parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder, away: str
) -> None:
    async with parts.running():
        made = await parts.entries.create(entry_put())
        await parts.settled()
        if away == "collection":
            vectors.rows.clear()
        vectors.away = away == "vectors"
        embedder.away = away == "model"
        embedder.refused = "key" if away == "refusing model" else ""
        found = await parts.retrieval.search("the key, where is it", floor=-1.0)
        assert [match.id for match in found.matches] == [made.id]
        assert found.degraded
        if away != "refusing model":
            assert (await parts.retrieval.search("refunds", floor=-1.0)).matches == ()
        embedder.away = vectors.away = False


async def test_a_known_outage_costs_no_time(parts: Rig, vectors: MemoryVectors) -> None:
    async with parts.running():
        vectors.away = True
        await parts.retrieval.search("first")
        searches = vectors.searches
        await parts.retrieval.search("second")
        assert vectors.searches == searches


class StuckEmbedder(HashingEmbedder):
    """Questions wait for ever; `waiting` counts them."""

    waiting = 0

    async def embed(
        self,
        texts: Sequence[str],
        *,
        kind: Literal["query", "passage"],
        background: bool = False,
    ) -> Sequence[Sequence[float]]:
        if kind == "query":
            self.waiting += 1
            await asyncio.Event().wait()
        return await super().embed(texts, kind=kind, background=background)


async def test_an_answer_does_not_wait_for_a_stuck_model(bus: Bus, vectors: MemoryVectors) -> None:
    stuck = rig(bus, vectors, StuckEmbedder(), faq=Faq(retrieval_timeout_s=0.01))
    async with stuck.running():
        found = await stuck.retrieval.search("Where is the key?")
        assert (found.matches, found.degraded) == ((), "the FAQ search took longer than 0.01 s")


async def test_a_question_that_was_waited_for_in_vain_is_found_by_its_words_without_waiting(
    bus: Bus, vectors: MemoryVectors
) -> None:
    stuck = StuckEmbedder()
    parts = rig(bus, vectors, stuck, faq=Faq(retrieval_timeout_s=0.01))
    async with parts.started():
        assert await parts.index.opened(WAIT_S)
        made = await parts.entries.create(entry_put())
        embedded = await parts.retrieval.embedded("Where is a key?")
        before = stuck.waiting
        found = await parts.retrieval.closest("Where is a key?", embedded)
        assert [match.id for match in found.matches] == [made.id]
        assert found.degraded_reason == "index_slow"
        assert stuck.waiting == before


async def test_what_is_near_an_entry_is_found_with_the_vector_it_has(
    parts: Rig, embedder: HashingEmbedder
) -> None:
    near = Near(parts.retrieval, least=0.5, lines_bound=2)
    async with parts.running():
        other = await parts.entries.create(entry_put("Where is a key?"))
        made = await parts.entries.create(entry_put("Where is the key?"))
        await parts.settled()
        asked = embedder.asked
        assert [one.id for one in await near.to_entry(made)] == [other.id]
        assert embedder.asked == asked
        draft = msgspec.structs.replace(made, question="Where are keys?", state="draft")
        assert await near.to_entry(draft)
        assert embedder.asked == asked + 1, "what has no vector yet is embedded"


async def test_an_entry_far_behind_the_best_is_kept_from_the_model(parts: Rig) -> None:
    async with parts.running():
        best = await parts.entries.create(entry_put("Where is the bicycle cellar?"))
        await parts.entries.create(entry_put("Where is the wine?"))
        await parts.settled()
        question = "Where is the bicycle cellar?"
        found = await parts.retrieval.search(question, floor=-1.0)
        assert len(found.matches) == 2
        assert found.matches[1].score < NEAR_BEST
        kept = await parts.retrieval.closest(question)
        assert [match.id for match in kept.matches] == [best.id]


async def test_who_asks_in_the_first_seconds_hears_what_the_faq_knows(
    bus: Bus, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    first = rig(bus, vectors, embedder)
    async with first.running():
        made = await first.entries.create(entry_put("Where is the key?"))
        await first.settled()
    vectors.away = True
    again = rig(bus, vectors, embedder)
    async with again.started():
        asked = asyncio.create_task(again.retrieval.search("Where is a key?", floor=0.5))
        await again.index.moved()  # it has tried in vain
        assert not asked.done()
        vectors.away = False
        found = await asked
    assert (found.degraded, [match.id for match in found.matches]) == ("", [made.id])


async def test_the_words_of_an_entry_are_known_as_soon_as_a_question_comes(
    bus: Bus, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    first = rig(bus, vectors, embedder)
    made = await first.entries.create(entry_put("Where is the key?"))
    vectors.away = embedder.away = True
    again = rig(bus, vectors, embedder)
    async with again.started():
        found = await again.retrieval.exact("where is the key")
    assert (found.decision, [match.id for match in found.matches]) == ("direct", [made.id])


@pytest.mark.parametrize(
    ("shared", "own", "typed"),
    [
        ("How do I get in?", "How do I reset my password?", "how do I get in"),
        ("忘记 WiFi 密码怎么办", "怎么重置密码？", "忘记WiFi密码怎么办～"),
    ],
)
async def test_a_question_of_one_entry_is_answered_though_another_has_it_as_a_phrasing(
    parts: Rig, shared: str, own: str, typed: str
) -> None:
    async with parts.running():
        put = msgspec.structs.replace(entry_put(own, "A."), phrasings=(shared,))
        await parts.entries.create(put)
        asked = await parts.entries.create(entry_put(shared, "B."))
        await parts.settled()
        for found in (await parts.retrieval.exact(typed), await parts.retrieval.closest(typed)):
            assert (found.decision, [m.id for m in found.matches]) == ("direct", [asked.id])
