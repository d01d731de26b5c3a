"""What is asked: prompts made from a seed, the same for both servers and different every round.

- raw: questions that share nothing, about 130 tokens each, 64 tokens out.
- shared: everybody at once under one system prompt of about 300 tokens that nobody saw before.
- chat: more conversations than slots, four turns each, taken in turn.
- faq: one person; retrieved entries stand before the question and the answer quotes them.
- neighbour: raw with eight people while another process keeps one core busy.
"""

import dataclasses
import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from appliance.access.prompt import last_message
from appliance.knowledge.demo import load_demo
from appliance.schema.answers import Match
from appliance.settings.conversations import Prompt

PLACES = "harbour lighthouse market orchard observatory canal library railway quarry vineyard"
PEOPLE = "gardener navigator clockmaker baker surveyor violinist beekeeper printer ferryman weaver"
THINGS = "lantern compass ledger kettle telescope barrel mirror anchor carpet typewriter umbrella"
MOODS = "patient curious stubborn cheerful nervous generous careful restless proud absent-minded"
TOPICS = "tides bread bridges maps bees clocks trains glass paper salt wool rivers windmills tea"
RULES = (
    "Write in plain sentences and never in lists.",
    "Name every place and every person that plays a part.",
    "Explain each step before going on to the next one.",
    "Prefer short words, and avoid repeating an adjective.",
    "Give numbers in words when they are below twenty.",
    "Mention the weather, the time of day and the season.",
    "Keep the order in which things happened.",
    "Say what can be heard, smelled and seen.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A person's questions, asked one after another under one system prompt."""

    user: str
    system: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`users` ask at the same time; both servers get `slots` slots and `cache_tokens` of KV."""

    name: str
    users: int
    conversations: tuple[Conversation, ...]
    max_tokens: int
    cache_tokens: int = 16_384
    busy_neighbour: bool = False

    @property
    def slots(self) -> int:
        return self.users


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much a round asks: a whole one, or one that only shows that everything works."""

    questions: int  # raw questions per round at one user; more users ask more in all
    turns: int
    faq_questions: int
    max_tokens: int


WHOLE = Size(questions=6, turns=4, faq_questions=10, max_tokens=64)
QUICK = Size(questions=1, turns=2, faq_questions=2, max_tokens=16)
RAW_USERS = (1, 4, 8, 16)
SHARED_USERS = (8, 16)
CHAT_SLOTS = 8
CHAT_SESSIONS = 12
NEIGHBOUR_USERS = 8


def names() -> list[str]:
    """Every workload, in the order of the report."""
    return list(_makers())


def chosen(wanted: str, users: int | None) -> list[str]:
    """Workloads by comma-separated names or kinds ("" is all), of those with users only `users`.

    Raises UnknownWorkload when a word names none, or nothing is left.
    """
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    kinds = {name: name.partition("-") for name in names()}
    for word in words:
        if word not in kinds and word not in {kind for kind, _, _ in kinds.values()}:
            raise UnknownWorkload(f"there is no workload {word}; there are {', '.join(kinds)}")
    found = [
        name
        for name, (kind, _, number) in kinds.items()
        if (not words or name in words or kind in words) and users in (None, int(number or "0"))
    ]
    if not found:
        raise UnknownWorkload(f"no workload has {users} users; there are {', '.join(kinds)}")
    return found


def make(name: str, seed: int, size: Size) -> Workload:
    """A workload by name; equal seeds make equal prompts. Raises KeyError for an unknown name."""
    return _makers()[name](random.Random(f"{name} {seed}"), size)


class UnknownWorkload(Exception):
    """A name that is no workload; the text lists those there are."""


Maker = Callable[[random.Random, Size], Workload]


def _makers() -> dict[str, Maker]:
    raw = {f"raw-{users}": _raw(f"raw-{users}", users) for users in RAW_USERS}
    shared = {f"shared-{users}": _shared(f"shared-{users}", users) for users in SHARED_USERS}
    return {**raw, **shared, "chat": _chat, "faq": _faq, "neighbour": _neighbour}


def _raw(name: str, users: int) -> Maker:
    def make_raw(rng: random.Random, size: Size) -> Workload:
        each = max(2, size.questions // users) if size.questions > 1 else 1
        people = [
            Conversation(
                user=f"person-{number}",
                system=f"Case {rng.randrange(10**6)}: you are a {_one(rng, MOODS)} storyteller.",
                questions=(_story(rng),),
            )
            for number in range(users * each)
        ]
        return Workload(
            name=name, users=users, conversations=tuple(people), max_tokens=size.max_tokens
        )

    return make_raw


def _shared(name: str, users: int) -> Maker:
    def make_shared(rng: random.Random, size: Size) -> Workload:
        system = _long_system(rng)
        people = tuple(
            Conversation(user=f"person-{number}", system=system, questions=(_short(rng),))
            for number in range(users)
        )
        return Workload(
            name=name, users=users, conversations=people, max_tokens=min(32, size.max_tokens)
        )

    return make_shared


def _chat(rng: random.Random, size: Size) -> Workload:
    system = f"You are the {_one(rng, MOODS)} guide of a {_one(rng, PLACES)}. Answer at length."
    talks = tuple(
        Conversation(
            user=f"person-{number}",
            system=system,
            questions=(
                _story(rng),
                *(f"Go on: what about the {_one(rng, THINGS)}?" for _ in range(size.turns - 1)),
            ),
        )
        for number in range(CHAT_SESSIONS)
    )
    return Workload(name="chat", users=CHAT_SLOTS, conversations=talks, max_tokens=size.max_tokens)


def _faq(rng: random.Random, size: Size) -> Workload:
    entries = [msgspec.json.decode(line, type=dict[str, object]) for line in _english()]
    asked = rng.sample(entries, size.faq_questions)
    people = tuple(
        Conversation(
            user="person-0",
            system=Prompt().system,
            questions=(_quoting(entry, rng.choice([e for e in entries if e is not entry])),),
        )
        for entry in asked
    )
    return Workload(name="faq", users=1, conversations=people, max_tokens=2 * size.max_tokens)


def _neighbour(rng: random.Random, size: Size) -> Workload:
    calm = _raw("neighbour", NEIGHBOUR_USERS)(rng, size)
    return dataclasses.replace(
        calm,
        conversations=calm.conversations[:NEIGHBOUR_USERS],
        max_tokens=min(32, size.max_tokens),
        busy_neighbour=True,
    )


def _story(rng: random.Random) -> str:
    """A question of about 110 tokens whose answer is long and its own words."""
    first, second = rng.sample(TOPICS.split(), 2)
    reader, place = _one(rng, PEOPLE), _one(rng, PLACES)
    around = ", ".join(f"a {_one(rng, MOODS)} {name}" for name in rng.sample(PEOPLE.split(), 4))
    owned = ", ".join(rng.sample(THINGS.split(), 4))
    return (
        f"The reader is a {_one(rng, MOODS)} {reader} who lives near {place} number "
        f"{rng.randrange(10**4)} with {around}, and who owns these things: {owned}. None of this "
        f"needs to be mentioned. Write a long and thorough essay about {first}: where it comes "
        f"from, how it works today, what people get wrong about it, what it costs, and what it has "
        f"in common with {second}. Begin at once with the first sentence of the essay, without a "
        "title and without a list, and do not stop early."
    )


def _short(rng: random.Random) -> str:
    return (
        f"What should a {_one(rng, MOODS)} {_one(rng, PEOPLE)} know about {_one(rng, TOPICS)} "
        f"before buying {_one(rng, THINGS)} number {rng.randrange(10**4)}?"
    )


def _long_system(rng: random.Random) -> str:
    """About 300 tokens, different from the first words on."""
    guide = f"You are guide {rng.randrange(10**6)} of the {_one(rng, PLACES)}."
    rules = rng.sample(RULES, len(RULES))
    facts = [
        f"The {place} is kept by a {_one(rng, MOODS)} {_one(rng, PEOPLE)} "
        f"and holds {rng.randrange(2, 99)} things, among them a {_one(rng, THINGS)}."
        for place in rng.sample(PLACES.split(), 9)
    ]
    return " ".join([guide, *rules, *facts])


def _english() -> list[bytes]:
    lines = load_demo().splitlines()
    return [line for line in lines if b'"language": "en"' in line]


def _quoting(entry: dict[str, object], other: dict[str, object]) -> str:
    """The product's own last message for two retrieved entries, asking for the first in words."""
    matches = [_match(entry), _match(other)]
    question = f"{entry['question']} Quote the answer of the FAQ word for word."
    return last_message(question, matches, today=datetime.date(2026, 1, 1))


def _match(entry: dict[str, object]) -> Match:
    question, answer = str(entry["question"]), str(entry["answer"])
    return Match(
        id=str(entry["id"]),
        question=question,
        phrasing=question,
        answer=answer,
        category="",
        language="en",
        score=1.0,
    )


def _one(rng: random.Random, words: str) -> str:
    return rng.choice(words.split())
