"""The public data sets as FAQs: what is indexed, and what is asked of it."""

import csv
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SEED = 7
OUTSIDE_SHARE = 0.25
"""Of the intents of banking77 are left out where questions nearly in the domain are wanted."""


@dataclass(frozen=True)
class Asked:
    """A question and the label of its entry, "" when no entry answers it."""

    text: str
    label: str


@dataclass(frozen=True)
class Entry:
    label: str
    question: str
    phrasings: tuple[str, ...] = ()
    answer: str = "-"


@dataclass(frozen=True)
class Set:
    """`published` are figures of others for recall@1 and @3 on the same task; "" for none."""

    name: str
    entries: tuple[Entry, ...]
    asked: tuple[Asked, ...]
    published: str = ""


def load(data: Path) -> list[Set]:
    """Every set there is, in the order of the table."""
    train, test = _banking(data, "train"), _banking(data, "test")
    kept, left = _split({one.label for one in train})
    clinc = json.loads((data / "clinc150" / "data_full.json").read_text("utf-8"))
    clinc_train = [Asked(text, label) for text, label in clinc["train"]]
    clinc_test = [Asked(text, label) for text, label in clinc["test"]]
    clinc_out = [Asked(text, "") for text, _ in clinc["oos_test"]]
    near = [Asked(one.text, one.label if one.label in kept else "") for one in test]
    return [
        Set("banking77", _entries(train), tuple(test), "MiniLM 0.921 / 0.958"),
        Set(
            "banking77 10-shot",
            _entries(_shots(train, 10)),
            tuple(test),
            "MiniLM 0.834 / 0.919, trained ICDA 0.898",
        ),
        Set(
            "banking77 5-shot",
            _entries(_shots(train, 5)),
            tuple(test),
            "MiniLM 0.768 / 0.886, trained ICDA 0.840",
        ),
        Set(
            f"near-domain banking77, {len(left)} of {len(kept | left)} intents left out",
            _entries([one for one in train if one.label in kept]),
            tuple(near),
            "MiniLM AUROC 0.77",
        ),
        Set(
            f"near-domain banking77 10-shot, {len(left)} of {len(kept | left)} intents left out",
            _entries(_shots([one for one in train if one.label in kept], 10)),
            tuple(near),
        ),
        Set(
            "clinc150 with out-of-scope",
            _entries(clinc_train),
            (*clinc_test, *clinc_out),
            "MiniLM 0.881 / 0.942, AUROC 0.966",
        ),
        Set(
            "clinc150 10-shot with out-of-scope",
            _entries(_shots(clinc_train, 10)),
            (*clinc_test, *clinc_out),
        ),
        _passages(data, "xquad zh", "zh", "zh", "e5 0.898, BM25 0.936, weighted 0.951"),
        _passages(data, "xquad zh question, en passage", "zh", "en", "e5 0.698 / 0.864"),
    ]


def sampled(one: Set, questions: int) -> Set:
    """The same set with so many of its questions, drawn by a fixed seed."""
    asked = list(one.asked)
    random.Random(SEED).shuffle(asked)
    return Set(one.name, one.entries, tuple(asked[:questions]), one.published)


def _banking(data: Path, part: str) -> list[Asked]:
    with (data / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        return [Asked(row["text"], row["category"]) for row in csv.DictReader(file)]


def _shots(train: Sequence[Asked], shots: int) -> list[Asked]:
    by_label = _by_label(train)
    chance = random.Random(SEED)
    return [
        Asked(text, label)
        for label in sorted(by_label)
        for text in chance.sample(by_label[label], min(shots, len(by_label[label])))
    ]


def _split(labels: set[str]) -> tuple[set[str], set[str]]:
    order = sorted(labels)
    random.Random(SEED).shuffle(order)
    cut = int(OUTSIDE_SHARE * len(order))
    return set(order[cut:]), set(order[:cut])


def _by_label(train: Sequence[Asked]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in train:
        found.setdefault(one.label, []).append(one.text)
    return found


def _entries(train: Sequence[Asked]) -> tuple[Entry, ...]:
    return tuple(
        Entry(label, texts[0], tuple(dict.fromkeys(texts[1:])))
        for label, texts in _by_label(train).items()
    )


def _passages(data: Path, name: str, asked: str, told: str, published: str) -> Set:
    """An entry per passage, under its article's title; the questions are those about it."""
    entries: list[Entry] = []
    questions: list[Asked] = []
    articles = [
        json.loads((data / "xquad" / f"xquad.{language}.json").read_text("utf-8"))["data"]
        for language in (told, asked)
    ]
    for passages, about in zip(*articles, strict=True):
        pairs = zip(passages["paragraphs"], about["paragraphs"], strict=True)
        for number, (passage, other) in enumerate(pairs):
            label = f"{passages['title']} {number}"
            title = passages["title"].replace("_", " ")
            entries.append(Entry(label, title, answer=passage["context"]))
            questions += [Asked(one["question"], label) for one in other["qas"]]
    return Set(name, tuple(entries), tuple(questions), published)
