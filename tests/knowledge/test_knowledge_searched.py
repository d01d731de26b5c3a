"""What a search found serves a second time, unless something changed that it rests on."""

import pytest
from knowledge_rig import HashingEmbedder, MemoryVectors, Rig, entry_put, rig
from msgspec.structs import replace

from appliance.access.rehearsal import Rehearsal
from appliance.bus.client import Bus
from appliance.knowledge.calibration import NOTHING_LEARNED, evidence
from appliance.knowledge.entries import Entries
from appliance.knowledge.retrieval import Retrieval, Searched
from appliance.schema.events import Retrieved
from appliance.schema.faq import Entry, EntryPut
from appliance.schema.requests import ChatMessage
from appliance.settings.faq import Faq

pytestmark = pytest.mark.integration

QUESTION = "Where is the key kept?"


@pytest.fixture
def vectors() -> MemoryVectors:
    return MemoryVectors()


@pytest.fixture
def parts(bus: Bus, vectors: MemoryVectors) -> Rig:
    return rig(bus, vectors, HashingEmbedder())


async def first(parts: Rig, *puts: EntryPut) -> tuple[list[Entry], Searched]:
    made = [await parts.entries.create(put) for put in puts]
    await parts.settled()
    return made, await parts.retrieval.searched(QUESTION)


async def test_a_question_is_searched_once_while_the_faq_stands(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        (made,), before = await first(parts, entry_put())
        searches = vectors.searches
        again = await parts.retrieval.searched(QUESTION, before=before)
        assert [match.id for match in again.found.matches] == [made.id]
        assert (again, vectors.searches) == (before, searches)


@pytest.mark.parametrize("change", ["reworded", "answered otherwise", "drafted", "deleted"])
async def test_an_edit_of_any_process_is_in_the_second_finding(
    bus: Bus, parts: Rig, vectors: MemoryVectors, change: str
) -> None:
    async with parts.running():
        (made,), before = await first(parts, entry_put())
        assert before.found.matches
        other = Entries(bus, 1000)  # this index does not hear of what it writes
        if change == "reworded":
            await other.replace(made.id, entry_put("How do refunds work?"))
        elif change == "answered otherwise":
            await other.replace(made.id, entry_put(answer="In room 8."))
        elif change == "drafted":
            put = EntryPut(question=made.question, answer=made.answer, state="draft")
            await other.replace(made.id, put)
        else:
            await other.delete(made.id)
        searches = vectors.searches
        again = await parts.retrieval.searched(QUESTION, before=before)
        expected = ["In room 8."] if change == "answered otherwise" else []
        assert [match.answer for match in again.found.matches] == expected
        assert vectors.searches > searches


async def test_what_the_index_took_up_meanwhile_is_found(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        vectors.gate.clear()
        made = await parts.entries.create(entry_put("An entirely other thing"))
        before = await parts.retrieval.searched("entirely another thing")
        vectors.gate.set()
        await parts.settled()
        again = await parts.retrieval.searched("entirely another thing", before=before)
        assert [match.id for match in again.found.matches] == [made.id]
        assert again.found.degraded == ""


async def test_what_was_found_without_the_index_is_searched_for_again(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        vectors.away = True
        _, before = await first(parts)
        assert before.found.degraded
        vectors.away = False
        assert await parts.index.opened(20.0)
        again = await parts.retrieval.searched(QUESTION, before=before)
        assert again.found.degraded == ""


async def test_an_entry_with_a_period_is_looked_at_again(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        put = EntryPut(question="Where is the key?", answer="Room 7", valid_until="2999-01-01")
        _, before = await first(parts, put)
        searches = vectors.searches
        again = await parts.retrieval.searched(QUESTION, before=before)
        assert again.found == before.found
        assert vectors.searches > searches


async def test_another_calibration_decides_anew(parts: Rig, vectors: MemoryVectors) -> None:
    learned = [NOTHING_LEARNED]
    retrieval = Retrieval(
        parts.entries, parts.index, HashingEmbedder(), Faq(), calibration=lambda: learned[0]
    )
    async with parts.running():
        await first(parts, entry_put())
        before = await retrieval.searched(QUESTION)
        assert before.found.decision == "compose"
        learned[0] = replace(NOTHING_LEARNED, score_floor=0.999, similarity_floor=0.999)
        again = await retrieval.searched(QUESTION, before=before)
        assert again.found.decision == "no_answer"


class Nobody:
    """Stands in for profiles, and for answering: what is told of a person, and said at once."""

    async def system(self, uid: str, session_id: str) -> ChatMessage:
        return ChatMessage(role="system", content="")

    def rehearsed(self, question: str, found: Retrieved) -> str:
        return ""


async def test_a_rehearsal_decides_on_what_a_question_would_find(parts: Rig) -> None:
    nobody = Nobody()
    rehearsal = Rehearsal(nobody, parts.retrieval, nobody)  # type: ignore[arg-type]
    async with parts.running():
        for n in range(90):
            await parts.entries.create(entry_put(f"Where is key {n} of the kiosk kept?"))
        await parts.settled()
        live = await parts.retrieval.searched(QUESTION)
        tried = await rehearsal.tried(QUESTION, "ann")
    assert (tried.decision, tried.matches) == (live.found.decision, live.found.matches)
    assert tried.found[: len(live.weighed)] == live.weighed
    assert tried.evidence == evidence([match.score for match in live.weighed])
    assert len({match.id for match in tried.found}) == len(tried.found) == 10
