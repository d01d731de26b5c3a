"""The demo FAQ: loads as it is, and is found by questions asked in other words."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import platformdirs
import pytest
from knowledge_rig import HashingEmbedder, MemoryVectors, rig

from appliance.bus.client import Bus
from appliance.knowledge.centring import Centred
from appliance.knowledge.demo import FORM, load_demo
from appliance.knowledge.exchange import parse
from appliance.knowledge.files.rows import Row
from appliance.knowledge.imports import import_file
from appliance.knowledge.opposites import take_sides
from appliance.knowledge.text import canonical
from appliance.schema.faq import ImportReport
from appliance.worker.backend import TextKind, Vectors

MODEL = "multilingual-e5-small-q4_0.gguf"
FLOOR = 0.38
COMPUTED_S = 300.0
"""A bound for all vectors of the demo FAQ, on one thread."""
SMALL_TALK = (
    "今天天气怎么样？",
    "写一首关于春天的诗",
    "法国的首都是哪里",
    "红烧肉怎么做",
    "世界上最高的山是哪座",
    "What is the capital of France?",
    "Tell me a joke",
    "How do I bake sourdough bread?",
    "Who wrote Hamlet?",
    "What is 17 times 23?",
)


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question in words of its own, the entry that answers it, and a fact of the answer."""

    language: str
    question: str
    entry_id: str
    fact: str


def questions() -> list[Asked]:
    data = (Path(__file__).parent / "demo_questions.json").read_bytes()
    return msgspec.json.decode(data, type=list[Asked])


def demo() -> dict[str, Row]:
    return {row.entry_id: row for row in parse(load_demo(), FORM, rows_bound=1000)}


@pytest.mark.unit
def test_no_question_takes_sides_against_a_phrasing_of_the_entry_that_answers_it() -> None:
    for row in demo().values():
        asked = [one.question for one in questions() if one.entry_id == row.entry_id]
        told = (row.put.question, *row.put.phrasings)
        assert not [(a, b) for a in (*asked, *told) for b in told if take_sides(a, b)]


@pytest.mark.unit
def test_the_demo_is_big_enough_and_tidy_in_both_languages() -> None:
    stored = [json.loads(line) for line in load_demo().splitlines()]
    for language in ("zh", "en"):
        entries = [row for row in demo().values() if row.put.language == language]
        assert len(entries) >= 24
        assert len({row.put.category for row in entries}) >= 5
        assert all(row.entry_id.startswith(f"demo-{language}-") for row in entries)
    for line in stored:
        row = demo()[line["id"]]
        assert 2 <= len(row.put.phrasings) <= 4
        assert list(row.put.phrasings) == line["phrasings"]
        assert (row.put.question, row.put.answer) == (line["question"], line["answer"])
        assert any(character.isdigit() for character in row.put.answer)


@pytest.mark.unit
def test_no_phrasing_belongs_to_two_entries() -> None:
    owners: dict[str, str] = {}
    for row in demo().values():
        for phrasing in (row.put.question, *row.put.phrasings):
            assert owners.setdefault(canonical(phrasing), row.entry_id) == row.entry_id


@pytest.mark.unit
def test_the_questions_are_asked_in_other_words_and_their_facts_are_in_the_answers() -> None:
    known = {
        canonical(text)
        for row in demo().values()
        for text in (row.put.question, *row.put.phrasings)
    }
    asked = questions()
    for language in ("zh", "en"):
        assert sum(one.language == language for one in asked) >= 10
    for one in asked:
        assert canonical(one.question) not in known
        assert one.fact in demo()[one.entry_id].put.answer


@pytest.mark.integration
async def test_loading_the_demo_twice_changes_nothing(bus: Bus) -> None:
    entries = rig(bus, MemoryVectors(), HashingEmbedder()).entries
    first = await import_file(entries, load_demo(), FORM)
    assert first.report == ImportReport(created=len(demo()), updated=0, unchanged=0)
    second = await import_file(entries, load_demo(), FORM)
    assert second.report == ImportReport(created=0, updated=0, unchanged=len(demo()))


# -- with the real embedding model


class ModelEmbedder:
    """The worker's embedding model, in this process."""

    stamp = MODEL

    def __init__(self, embed: Callable[[str, TextKind], Vectors]) -> None:
        self._embed = embed
        self.size = len(embed("size", "query"))

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, background: bool = False
    ) -> Sequence[Sequence[float]]:
        return [[float(x) for x in self._embed(text, kind)] for text in texts]


@pytest.fixture(scope="module")
def model() -> ModelEmbedder:
    path = platformdirs.user_cache_path("sluice", appauthor=False) / "models" / MODEL
    if not path.exists():
        pytest.fail(f"no {path}: get the starter models with `sluice models pull`")
    from appliance.worker.llama_embedding import EmbeddingModel
    from appliance.worker.llama_library import load_library
    from appliance.worker.llama_model import Model

    weights = Model(load_library(), path)
    loaded = EmbeddingModel(weights, threads=1, on_gpu=False)
    return ModelEmbedder(lambda text, kind: loaded.embed([loaded.tokens(text, kind)])[0])


@pytest.mark.model
async def test_questions_in_other_words_find_their_entry_first_and_small_talk_finds_none(
    bus: Bus, model: ModelEmbedder
) -> None:
    parts = rig(bus, MemoryVectors(), Centred(bus, model))
    taken = await import_file(parts.entries, load_demo(), FORM)
    scores, firsts = [], 0
    async with parts.started():
        assert await parts.index.settled([one.id for one in taken.writes], COMPUTED_S)
        for one in questions():
            found = (await parts.retrieval.search(one.question, limit=3, floor=-1.0)).matches
            assert one.entry_id in [match.id for match in found], one.question
            firsts += found[0].id == one.entry_id and one.fact in found[0].answer
            scores.append(found[0].similarity)
        talk = [await parts.retrieval.search(text, floor=FLOOR) for text in SMALL_TALK]
    assert firsts >= 0.96 * len(scores)
    assert sum(score >= FLOOR for score in scores) >= 0.9 * len(scores)
    assert sum(found.matches == () for found in talk) >= 0.9 * len(talk)
