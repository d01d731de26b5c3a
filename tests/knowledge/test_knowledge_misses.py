"""The inbox of missed questions in the real store: grouped, bounded, promoted, told once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import pytest
from knowledge_rig import HashingEmbedder, MemoryVectors, Rig, entry_put, rig
from msgspec.structs import replace as replace_struct

from appliance.bus.client import AWAY, FULL, Bus
from appliance.errors import Conflict, Invalid, NotFound, Overloaded
from appliance.knowledge.missed import Missed
from appliance.knowledge.misses import Misses
from appliance.knowledge.persons import Persons
from appliance.knowledge.promotion import Promotion
from appliance.knowledge.questions import Heard, Questions
from appliance.knowledge.retrieval import NOT_EMBEDDED, Embedded
from appliance.knowledge.stats import Stats
from appliance.schema.curation import Asker, Miss, MissAnswer, MissPromote, MissReason
from appliance.schema.faq import Entry
from appliance.schema.inbox import InboxMessage
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling

pytestmark = pytest.mark.integration

WAIT_S = 20.0


def misses_of(bus: Bus, *, kept: int = 5, askers_kept: int = 3) -> Misses:
    return Misses(bus, kept=kept, askers_kept=askers_kept, least=0.8)


def missed(
    question: str,
    *,
    uid: str = "ann",
    rid: str = "",
    reason: MissReason = "no_match",
    vector: tuple[float, ...] = (),
    at_ms: int = 1000,
) -> Missed:
    embedded = Embedded("m", vector) if vector else NOT_EMBEDDED
    return Missed(rid or f"r-{question}-{uid}", uid, question, reason, at_ms, embedded)


@pytest.fixture
def misses(bus: Bus) -> Misses:
    return misses_of(bus)


async def test_questions_that_mean_the_same_are_one_group_with_its_askers(misses: Misses) -> None:
    await misses.take(missed("Can I bring my dog?", vector=(1.0, 0.0)))
    await misses.take(missed("狗可以进办公室吗？", uid="bo", vector=(0.95, 0.1)))
    await misses.take(missed("can I bring my dog", uid="bo", vector=(1.0, 0.0)))
    await misses.take(missed("Where is the sauna?", vector=(0.0, 1.0)))
    dogs, sauna = misses.listed("open")
    assert (dogs.count, sauna.count) == (3, 1)
    assert dogs.phrasings == ("Can I bring my dog?", "狗可以进办公室吗？")
    assert [(a.uid, a.question) for a in dogs.askers] == [
        ("ann", "Can I bring my dog?"),
        ("bo", "狗可以进办公室吗？"),
    ]


async def test_opposites_are_groups_of_their_own_however_near(misses: Misses) -> None:
    for n in range(2):
        await misses.take(missed("How do I open an account?", uid=f"o{n}", vector=(1.0, 0.0)))
        await misses.take(missed("How do I close an account?", uid=f"c{n}", vector=(0.99, 0.01)))
    closing = await misses.take(missed("Closing my account", uid="bo", vector=(1.0, 0.0)))
    assert closing.phrasings == ("How do I close an account?", "Closing my account")
    opening = next(miss for miss in misses.listed("open") if miss.id != closing.id)
    assert opening.phrasings == ("How do I open an account?",)


async def test_opposites_that_were_stored_as_one_group_are_parted_with_their_askers(
    bus: Bus, misses: Misses
) -> None:
    made = await misses.take(missed("怎么开通自动续费", vector=(1.0, 0.0)))
    both = (*made.phrasings, "怎么取消自动续费")
    askers = (*made.askers, Asker(uid="bo", question="怎么取消自动续费", waits=True))
    await misses.change(made.id, phrasings=both, askers=askers, count=5)
    for _ in range(2):
        again = misses_of(bus)
        await again.load()
        opening, closing = again.listed("open")
        assert (opening.id, opening.count, opening.phrasings) == (made.id, 4, made.phrasings)
        assert opening.askers == made.askers
        assert (closing.question, closing.phrasings) == (both[1], both[1:])
        assert [asker.uid for asker in closing.askers] == ["bo"]


async def test_the_same_words_meet_without_an_embedding_model(misses: Misses) -> None:
    await misses.take(missed("Why?"))
    await misses.take(missed("why", uid="bo"))
    await misses.take(missed("How?"))
    assert [miss.count for miss in misses.listed("open")] == [2, 1]


async def test_a_request_counts_once_however_often_it_is_heard(misses: Misses) -> None:
    for reason in ("no_match", "no_match", "thumbs_down", "thumbs_down"):
        await misses.take(missed("Why?", rid="r1", reason=reason))
    (miss,) = misses.listed("open")
    assert (miss.count, miss.reasons) == (1, {"no_match": 1, "thumbs_down": 1})


async def test_everything_is_there_after_a_restart(bus: Bus, misses: Misses) -> None:
    made = await misses.take(missed("Dog?", vector=(1.0, 0.0)))
    await misses.take(missed("Sauna?", vector=(0.0, 1.0)))
    again = misses_of(bus)
    await again.load()
    assert again.listed("open") == misses.listed("open")
    grown = await again.take(missed("A dog, perhaps?", uid="bo", vector=(0.97, 0.05)))
    assert (grown.id, grown.count) == (made.id, 2)


async def test_past_the_bound_the_settled_and_the_least_asked_leave(bus: Bus) -> None:
    misses = misses_of(bus, kept=2)
    often = await misses.take(missed("Often?"))
    await misses.take(missed("Often?", uid="bo"))
    dismissed = await misses.take(missed("Hello"))
    await misses.change(dismissed.id, state="dismissed")
    once = await misses.take(missed("Once?", at_ms=2000))
    assert {m.id for m in misses.listed("open")} == {often.id, once.id}
    assert misses.listed("dismissed") == []
    later = await misses.take(missed("Later?", at_ms=3000))
    assert {m.id for m in misses.listed("open")} == {often.id, later.id}
    again = misses_of(bus, kept=2)
    await again.load()
    assert {m.id for m in again.listed("open")} == {often.id, later.id}
    new = await misses.take(missed("Once?", at_ms=4000))
    assert new.id != once.id


async def test_lists_inside_a_group_are_bounded(bus: Bus) -> None:
    misses = misses_of(bus, askers_kept=3)
    for n in range(100):
        await misses.take(missed(f"Dog {n}?", uid=f"u{n}", vector=(1.0, 0.0)))
    (miss,) = misses.listed("open")
    assert (miss.count, len(miss.phrasings), len(miss.askers)) == (100, 32, 3)


async def test_a_dismissed_group_takes_in_its_like_silently(misses: Misses) -> None:
    hello = await misses.take(missed("Hello", vector=(1.0, 0.0)))
    await misses.change(hello.id, state="dismissed")
    await misses.take(missed("hello there", uid="bo", vector=(0.99, 0.05)))
    assert misses.listed("open") == []
    assert misses.find(hello.id).count == 2


async def test_another_embedding_model_groups_by_words_until_it_knows_better(
    misses: Misses,
) -> None:
    dog = await misses.take(missed("Dog?", vector=(1.0, 0.0)))
    other = Embedded("other", (0.0, 1.0, 0.0))
    same = await misses.take(Missed("r9", "bo", "dog", "no_match", 2000, other))
    assert same.id == dog.id
    near = Embedded("other", (0.0, 0.99, 0.01))
    assert (await misses.take(Missed("r10", "cy", "My dog?", "no_match", 3000, near))).id == dog.id


async def test_a_person_is_forgotten_with_what_nobody_else_has_asked(
    bus: Bus, misses: Misses
) -> None:
    dogs = await misses.take(missed("My Rex?", vector=(1.0, 0.0)))
    await misses.take(missed("Dog?", vector=(1.0, 0.0)))
    await misses.take(missed("dog", uid="bo", vector=(1.0, 0.0)))
    await misses.take(missed("I, Ann, have a sauna", vector=(0.0, 1.0)))
    assert misses.asked_by("ann") == ["My Rex?", "I, Ann, have a sauna"]
    await misses.forget_person("ann")
    again = misses_of(bus)
    await again.load()
    assert await bus.zcard("misses") == 1
    for held in (misses, again):
        (miss,) = held.listed("open")
        assert (miss.id, miss.question, miss.phrasings) == (dogs.id, "Dog?", ("Dog?",))
        assert [asker.uid for asker in miss.askers] == ["bo"]
        assert held.asked_by("ann") == []
        assert (await held.take(missed("my rex", uid="cy"))).id != dogs.id


async def test_who_said_what_is_told_by_the_askers_of_an_older_version(bus: Bus) -> None:
    misses = misses_of(bus)
    for uid, question in (("ann", "My Rex?"), ("bo", "Dog?"), ("ann", "Dog?")):
        made = await misses.take(missed(question, uid=uid, vector=(1.0, 0.0)))
    body = msgspec.json.encode({"miss": made, "requests": []})
    await bus.hset(f"miss:{made.id}", mapping={"body": body})
    again = misses_of(bus)
    await again.load()
    await again.forget_person("ann")
    assert [miss.phrasings for miss in again.listed("open")] == [("Dog?",)]


async def test_who_said_what_is_known_by_forms_of_an_older_version(bus: Bus) -> None:
    made = await misses_of(bus).take(missed("WiFi 密码？"))
    stored = replace_struct(made, phrasings=("WiFi 密码？", "狗 呢", "狗呢", "猫 呢", "猫呢"))
    said = {"wifi 密码": "ann", "狗 呢": "ann", "狗呢": "bo", "猫 呢": "ann"}
    body = msgspec.json.encode({"miss": stored, "requests": [], "said": said})
    await bus.hset(f"miss:{made.id}", mapping={"body": body})
    again = misses_of(bus)
    await again.load()
    assert await again.take(missed("WiFi密码", uid="bo")) in again.listed("open")
    other = misses_of(bus)
    await other.load()
    await other.forget_person("ann")
    ((miss),) = other.listed("open")
    assert "狗呢" in miss.phrasings, "two have asked it"
    assert "猫呢" in miss.phrasings, "others have asked it"


# -- promotion


@dataclass
class People:
    """Stands in for the inbox: what each person was told. `full` people refuse."""

    told: dict[tuple[str, str, str], str] = field(default_factory=dict)
    turn_of: dict[str, str] = field(default_factory=dict)
    full: str = ""
    meanwhile: Coroutine[None, None, object] | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer_found(
        self,
        uid: str,
        question: str,
        *,
        answer: str,
        key: str,
        entry_id: str,
        session_id: str,
        request_id: str,
    ) -> None:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile
        if uid == self.full:
            raise Overloaded("full")
        assert (uid, question, entry_id) not in self.told
        assert question in key
        self.told[uid, question, entry_id] = answer
        self.turn_of[uid] = request_id
        assert bool(session_id) == bool(request_id)
        self.news.set()


@dataclass
class LateTurns:
    """Stands in for the sessions: what was added to which."""

    turns: list[tuple[str, str, str, str]] = field(default_factory=list)

    async def add(self, session_id: str, asked_id: str, question: str, answer: str) -> str:
        self.turns.append((session_id, asked_id, question, answer))
        return f"{session_id}-late"


@dataclass
class Told:
    """Stands in for an inbox that is told of questions."""

    told: dict[tuple[str, str], str] = field(default_factory=dict)

    async def tell(self, uid: str, message: InboxMessage, *, key: str) -> None:
        if uid == "full":
            raise Overloaded("full")
        self.told[uid, key] = message.text


@dataclass
class Desk:
    knowledge: Rig
    misses: Misses
    people: People
    promotion: Promotion
    sessions: LateTurns

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.promotion.run())
        try:
            yield
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.1)

    async def told(self, miss: Miss) -> None:
        async with asyncio.timeout(WAIT_S):
            while not self.misses.find(miss.id).told:  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest.fixture
async def desk(bus: Bus, misses: Misses) -> Desk:
    knowledge, people = rig(bus, MemoryVectors(), HashingEmbedder()), People()
    sessions = LateTurns()
    promotion = Promotion(knowledge.entries, misses, people, sessions)  # type: ignore[arg-type]
    return Desk(knowledge, misses, people, promotion, sessions)


async def dogs(misses: Misses) -> Miss:
    await misses.take(missed("Can I bring my dog?", vector=(1.0, 0.0)))
    return await misses.take(missed("狗可以进吗？", uid="bo", vector=(0.95, 0.1)))


async def test_a_promoted_group_is_an_entry_with_its_phrasings_and_people_hear(desk: Desk) -> None:
    miss = await dogs(desk.misses)
    async with desk.running():
        entry = await desk.promotion.promote(miss.id, MissPromote(answer="On Fridays."))
        await desk.told(miss)
    assert entry == await desk.knowledge.entries.read(entry.id)
    assert (entry.question, entry.phrasings) == ("Can I bring my dog?", ("狗可以进吗？",))
    assert desk.people.told == {
        ("ann", "Can I bring my dog?", entry.id): "On Fridays.",
        ("bo", "狗可以进吗？", entry.id): "On Fridays.",
    }
    assert desk.misses.listed("open") == []


async def test_who_is_erased_while_others_are_told_hears_nothing(desk: Desk) -> None:
    miss = await dogs(desk.misses)
    desk.people.meanwhile = desk.misses.forget_person("bo")
    async with desk.running():
        await desk.promotion.answer(miss.id, MissAnswer(answer="On Fridays."))
        await desk.told(miss)
    assert [uid for uid, _, _ in desk.people.told] == ["ann"]


async def test_nobody_hears_of_a_draft_until_it_is_published(desk: Desk) -> None:
    miss = await dogs(desk.misses)
    async with desk.running():
        entry = await desk.promotion.promote(miss.id, MissPromote(answer="Draft.", state="draft"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert desk.people.told == {}
        put = entry_put("Can I bring my dog?", "On Fridays.")
        await desk.knowledge.entries.replace(entry.id, put)
        await desk.told(miss)
    assert set(desk.people.told.values()) == {"On Fridays."}


async def test_nobody_hears_of_an_entry_before_it_holds(desk: Desk) -> None:
    put = replace_struct(entry_put("Are pets allowed?", "On Fridays."), valid_from="2999-01-01")
    entry = await desk.knowledge.entries.create(put)
    miss = await dogs(desk.misses)
    async with desk.running():
        await desk.promotion.promote(miss.id, MissPromote(entry_id=entry.id))
        for _ in range(50):
            await asyncio.sleep(0)
        assert desk.people.told == {}
        await desk.knowledge.entries.replace(entry.id, entry_put("Pets?", "On Fridays."))
        await desk.told(miss)
    assert set(desk.people.told.values()) == {"On Fridays."}


async def test_a_promoted_group_is_given_to_no_other_entry_and_told_once(desk: Desk) -> None:
    entry, other = [
        await desk.knowledge.entries.create(entry_put(question, "On Fridays."))
        for question in ("Are pets allowed?", "Pets?")
    ]
    miss = await dogs(desk.misses)
    async with desk.running():
        made = await desk.promotion.promote(miss.id, MissPromote(entry_id=entry.id))
        await desk.told(miss)
        assert await desk.promotion.promote(miss.id, MissPromote(entry_id=entry.id)) == made
        assert desk.misses.find(miss.id).told
        with pytest.raises(Conflict, match=entry.id):
            await desk.promotion.promote(miss.id, MissPromote(entry_id=other.id))


async def test_people_hear_though_others_are_told_while_the_entry_is_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    miss = await dogs(desk.misses)
    other = await desk.misses.take(missed("Where is the sauna?", uid="cy", vector=(0.0, 1.0)))
    write = desk.knowledge.entries.write

    async def late(entries: Sequence[Entry]) -> bool:
        await desk.promotion.answer(other.id, MissAnswer(answer="In the cellar."))
        await desk.told(other)
        return await write(entries)

    monkeypatch.setattr(desk.knowledge.entries, "write", late)
    async with desk.running():
        await desk.promotion.promote(miss.id, MissPromote(answer="On Fridays."))
        await desk.told(miss)
    assert sorted(uid for uid, _, _ in desk.people.told) == ["ann", "bo", "cy"]


async def test_a_group_that_an_entry_has_no_room_for_is_refused_and_stays(desk: Desk) -> None:
    full = replace_struct(entry_put("Pets?"), phrasings=tuple(f"pet {n}" for n in range(64)))
    entry = await desk.knowledge.entries.create(full)
    miss = await dogs(desk.misses)
    with pytest.raises(Invalid, match="more than 64 phrasings") as refused:
        await desk.promotion.promote(miss.id, MissPromote(entry_id=entry.id))
    assert refused.value.reason == "too_long"
    assert desk.misses.find(miss.id).state == "open"
    assert await desk.knowledge.entries.read(entry.id) == entry


async def test_a_group_adds_its_phrasings_to_an_entry_that_has_the_answer(desk: Desk) -> None:
    entry = await desk.knowledge.entries.create(entry_put("Are pets allowed?", "On Fridays."))
    miss = await dogs(desk.misses)
    async with desk.running():
        extended = await desk.promotion.promote(miss.id, MissPromote(entry_id=entry.id))
        await desk.told(miss)
    assert extended.phrasings == ("Can I bring my dog?", "狗可以进吗？")
    assert (extended.version, len(desk.people.told)) == (2, 2)


async def test_what_a_crash_cut_off_is_told_at_the_next_start(bus: Bus, desk: Desk) -> None:
    miss = await dogs(desk.misses)
    entry = await desk.promotion.promote(miss.id, MissPromote(answer="On Fridays."))
    assert desk.people.told == {}  # nobody ran
    again = misses_of(bus)
    await again.load()
    promotion = Promotion(desk.knowledge.entries, again, desk.people, desk.sessions)  # type: ignore[arg-type]
    restarted = Desk(desk.knowledge, again, desk.people, promotion, desk.sessions)
    assert (await promotion.promote(miss.id, MissPromote(answer="On Fridays."))).id == entry.id
    async with restarted.running():
        await restarted.told(miss)
    assert len(desk.people.told) == 2
    assert await desk.knowledge.entries.count() == 1


async def test_a_person_whose_inbox_is_full_hears_when_there_is_room_and_others_at_once(
    desk: Desk,
) -> None:
    miss = await dogs(desk.misses)
    desk.people.full = "ann"
    async with desk.running():
        entry = await desk.promotion.promote(miss.id, MissPromote(answer="On Fridays."))
        async with asyncio.timeout(WAIT_S):
            while len(desk.misses.find(miss.id).askers) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert [uid for uid, _, _ in desk.people.told] == ["bo"]
        assert [asker.uid for asker in desk.misses.find(miss.id).askers] == ["ann"]
        assert not desk.misses.find(miss.id).told
        desk.people.full = ""
        await desk.knowledge.entries.replace(entry.id, entry_put(miss.question, "On Fridays."))
        await desk.told(miss)
    assert [uid for uid, _, _ in desk.people.told] == ["bo", "ann"]


async def test_who_asks_while_the_others_are_told_hears_too(desk: Desk) -> None:
    miss = await dogs(desk.misses)
    desk.people.meanwhile = waiting(desk.misses, "cy", "s3-1")
    async with desk.running():
        await desk.promotion.answer(miss.id, MissAnswer(answer="On Fridays."))
        await desk.told(miss)
    assert [uid for uid, _, _ in desk.people.told] == ["ann", "bo", "cy"]
    assert [turn[1] for turn in desk.sessions.turns] == ["s3-1"]


async def test_a_promotion_that_makes_no_sense_changes_nothing(desk: Desk) -> None:
    miss = await dogs(desk.misses)
    for body in (MissPromote(), MissPromote(answer="a", entry_id="b"), MissPromote(answer=" ")):
        with pytest.raises(Invalid):
            await desk.promotion.promote(miss.id, body)
    with pytest.raises(NotFound):
        await desk.promotion.promote(miss.id, MissPromote(entry_id="nobody"))
    with pytest.raises(NotFound):
        await desk.promotion.promote("nobody", MissPromote(answer="a"))
    assert desk.misses.listed("open") == [miss]
    await desk.promotion.promote(miss.id, MissPromote(answer="One."))
    with pytest.raises(Conflict):
        await desk.promotion.promote(miss.id, MissPromote(answer="Two."))


async def test_no_entry_is_made_of_opposites(desk: Desk) -> None:
    miss = await desk.misses.take(missed("How do I open an account?"))
    entry = await desk.knowledge.entries.create(entry_put("How do I close an account?"))
    for body in (
        MissPromote(answer="So.", question="How do I close an account?"),
        MissPromote(answer="So.", phrasings=("close an account",)),
        MissPromote(entry_id=entry.id),
    ):
        with pytest.raises(Invalid, match="opposite"):
            await desk.promotion.promote(miss.id, body)
    assert desk.misses.listed("open") == [miss]
    both = MissPromote(answer="At the desk.", question="How do I open or close an account?")
    assert (await desk.promotion.promote(miss.id, both)).phrasings == (miss.question,)


async def test_a_question_missed_in_spite_of_its_entry_opens_the_group_again(desk: Desk) -> None:
    miss = await dogs(desk.misses)
    async with desk.running():
        await desk.promotion.promote(miss.id, MissPromote(answer="On Fridays."))
        await desk.told(miss)
    await desk.misses.take(missed("My dog, may it come?", uid="cy", vector=(0.99, 0.02)))
    (again,) = desk.misses.listed("open")
    assert (again.id, again.count) == (miss.id, 3)


# -- what becomes of questions


async def test_hits_are_counted_once_and_misses_taken_in_unless_they_were_erased(
    bus: Bus, misses: Misses
) -> None:
    knowledge = rig(bus, MemoryVectors(), HashingEmbedder())
    stats = Stats(bus)
    questions = Questions(stats, misses, knowledge.retrieval)
    task = asyncio.create_task(questions.run())
    for request_id in ("x-1", "x-2"):
        await bus.hset(f"request:{{x}}:{request_id}", mapping={"state": "done"})
    await bus.hset("turn:{s}", mapping={"s-1:question": "{}"})
    for _ in range(2):
        questions.heard(Heard("x-1", "ann", "q", ["a", "b"], None))
    questions.heard(Heard("x-2", "bo", "unknown", [], "no_match"))
    questions.heard(Heard("s-1", "bo", "badly answered", [], "thumbs_down"))
    for gone in ("x-3", "s-2"):
        questions.heard(Heard(gone, "erased", f"what {gone} asked", [], "no_match"))
    await questions.settled()
    task.cancel()
    a, b, c = await stats.read(["a", "b", "c"])
    assert (a.hits, b.hits, c.hits) == (1, 1, 0)
    assert a.last_hit_ms > 0
    assert {miss.question for miss in misses.listed("open")} == {"unknown", "badly answered"}


async def test_a_question_is_counted_when_the_store_is_back_and_a_fault_stops_no_others(
    bus: Bus, misses: Misses
) -> None:
    faults = [AWAY[0]("gone"), FULL[0]("full"), ValueError("a fault of ours")]

    class Flaky(Stats):
        async def heard(self, request_id: str, entry_ids: Sequence[str], at_ms: int) -> bool:
            if faults:
                raise faults.pop(0)
            return await super().heard(request_id, entry_ids, at_ms)

    stats = Flaky(bus)
    questions = Questions(stats, misses, rig(bus, MemoryVectors(), HashingEmbedder()).retrieval)
    task = asyncio.create_task(questions.run())
    for request_id in ("x-1", "x-2"):
        await bus.hset(f"request:{{x}}:{request_id}", mapping={"state": "done"})
        questions.heard(Heard(request_id, "ann", "q", [request_id], None))
    await questions.settled()
    task.cancel()
    assert [one.hits for one in await stats.read(["x-1", "x-2"])] == [0, 1]
    assert faults == []


async def test_a_thumb_is_counted_once_moved_and_taken_back(bus: Bus) -> None:
    stats = Stats(bus)
    await stats.vote(["a"], "none", "down")
    await stats.vote(["a"], "down", "down")
    await stats.vote(["a"], "down", "up")
    (a,) = await stats.read(["a"])
    assert (a.up, a.down) == (1, 0)
    await stats.vote(["a"], "up", "none")
    await stats.vote(["a"], "up", "none")  # one too many changes nothing
    (a,) = await stats.read(["a"])
    assert (a.up, a.down) == (0, 0)


# -- asking a person


async def waiting(misses: Misses, uid: str = "ann", rid: str = "s1-1") -> Miss:
    asked = missed("Can I bring my dog?", uid=uid, rid=rid)
    return await misses.take(replace(asked, waits=True, session_id=rid.partition("-")[0]))


async def test_an_answer_reaches_the_session_of_who_was_promised_one_and_the_inbox_of_all(
    bus: Bus, desk: Desk
) -> None:
    await desk.misses.take(missed("Can I bring my dog?", uid="bo"))
    miss = await waiting(desk.misses)
    assert await desk.promotion.answer(miss.id, MissAnswer(answer=" On Fridays. "))
    again = misses_of(bus)  # a crash: it is told at the next start
    await again.load()
    promotion = Promotion(desk.knowledge.entries, again, desk.people, desk.sessions)  # type: ignore[arg-type]
    restarted = Desk(desk.knowledge, again, desk.people, promotion, desk.sessions)
    async with restarted.running():
        await restarted.told(miss)
    assert desk.people.told == {
        ("ann", "Can I bring my dog?", ""): "On Fridays.",
        ("bo", "Can I bring my dog?", ""): "On Fridays.",
    }
    assert desk.sessions.turns == [("s1", "s1-1", "Can I bring my dog?", "On Fridays.")]
    assert desk.people.turn_of == {"ann": "s1-late", "bo": ""}
    assert (again.listed("answered")[0].told, again.listed("open")) == (True, [])
    assert await desk.knowledge.entries.count() == 0


async def test_a_promoted_group_reaches_the_session_too(desk: Desk) -> None:
    miss = await waiting(desk.misses)
    async with desk.running():
        await desk.promotion.promote(miss.id, MissPromote(answer="On Fridays."))
        await desk.told(miss)
    assert desk.sessions.turns == [("s1", "s1-1", "Can I bring my dog?", "On Fridays.")]


async def test_another_answer_needs_the_group_to_be_opened_again(desk: Desk) -> None:
    miss = await waiting(desk.misses)
    await desk.promotion.answer(miss.id, MissAnswer(answer="On Fridays."))
    await desk.promotion.answer(miss.id, MissAnswer(answer="On Fridays."))
    with pytest.raises(Conflict, match="otherwise"):
        await desk.promotion.answer(miss.id, MissAnswer(answer="Never."))
    with pytest.raises(Invalid):
        await desk.promotion.answer(miss.id, MissAnswer(answer="  "))
    with pytest.raises(NotFound):
        await desk.promotion.answer("nobody", MissAnswer(answer="Yes."))
    entry = await desk.promotion.promote(miss.id, MissPromote(answer="On Fridays."))
    with pytest.raises(Conflict, match=entry.id):
        await desk.promotion.answer(miss.id, MissAnswer(answer="On Fridays."))


async def test_who_asks_after_the_answer_waits_for_a_new_one_and_others_have_theirs(
    desk: Desk,
) -> None:
    miss = await waiting(desk.misses)
    async with desk.running():
        await desk.promotion.answer(miss.id, MissAnswer(answer="On Fridays."))
        await desk.told(miss)
    again = await waiting(desk.misses, "bo", "s2-1")
    assert (again.id, again.state, again.told, again.answer) == (
        miss.id,
        "open",
        False,
        "On Fridays.",
    )
    assert [asker.uid for asker in again.askers] == ["bo"]


async def test_past_the_bound_nobody_is_promised_an_answer_and_who_waits_stays(bus: Bus) -> None:
    misses = misses_of(bus, kept=2, askers_kept=2)
    await misses.take(missed("Can I bring my dog?", uid="cy"))
    for uid in ("ann", "bo", "dee"):
        miss = await waiting(misses, uid, f"{uid}-1")
    assert [asker.uid for asker in miss.askers] == ["ann", "bo"]
    for n in range(5):
        for uid in ("x", "y", "z", "w"):
            await misses.take(missed(f"Other {n}?", uid=uid))
    assert miss in misses.listed("open")


@pytest.mark.parametrize("settled", ["", "dismissed"])
async def test_a_person_is_asked_once_and_the_named_hear_of_it(
    misses: Misses, bus: Bus, settled: str
) -> None:
    inbox = Told()
    persons = Persons(misses, inbox, ("chief", "full"))  # type: ignore[arg-type]
    if settled:
        miss = await misses.take(missed("Dog?"))
        await misses.change(miss.id, state=settled)
    for uid, rid in (("ann", "s1-1"), ("ann", "s1-1"), ("bo", "s2-1")):
        request = Request(
            id=rid,
            uid=uid,
            text="Dog?",
            sampling=Sampling(),
            created_at_ms=1,
            deadline_at_ms=2,
            session_id=rid.partition("-")[0],
        )
        assert await persons.asked(request, NOT_EMBEDDED) is not bool(settled)
    expected = {} if settled else {("chief", "waiting s1-1"): "Dog?"}
    assert inbox.told == expected
