"""When garbage is collected: not while somebody types, and never too late."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from ui.collecting import LOOKS, MOST_NEW, NEW_OBJECTS, STILL_S, Collector, by_hand


class Knot:
    """Only a look for cycles frees it."""

    def __init__(self) -> None:
        self.itself = self


class Hand:
    """A collector, the time, and what it would have to look at."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.collector = Collector(lambda: self.now_s)
        self._kept: list[list[int]] = []

    def makes(self, objects: int) -> None:
        self._kept += [[] for _ in range(objects)]

    def is_collected(self) -> bool:
        knot = weakref.ref(Knot())
        self.collector.look()
        return knot() is None


@pytest.fixture
def hand() -> Iterator[Hand]:
    with by_hand():
        gc.collect()
        yield Hand()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_what_is_new_is_collected_once_the_keys_are_still(hand: Hand) -> None:
    hand.makes(NEW_OBJECTS)
    hand.collector.touched()
    assert not hand.is_collected()
    hand.now_s += STILL_S
    assert hand.is_collected()


def test_a_few_objects_are_not_worth_a_look(hand: Hand) -> None:
    hand.makes(NEW_OBJECTS // 2)
    hand.now_s += STILL_S
    assert not hand.is_collected()


def test_somebody_who_never_pauses_is_interrupted_in_the_end(hand: Hand) -> None:
    hand.makes(MOST_NEW)
    hand.collector.touched()
    assert hand.is_collected()


def test_what_has_grown_old_is_collected_too(hand: Hand) -> None:
    old = [Knot()]
    gone = weakref.ref(old[0])
    hand.now_s += STILL_S
    looks = 0
    while gone() is not None and looks <= LOOKS:
        hand.makes(NEW_OBJECTS)
        hand.collector.look()
        looks += 1
        old.clear()  # the first look has made it old
    assert looks == LOOKS


def test_python_does_not_collect_by_itself_meanwhile(hand: Hand) -> None:
    knot = weakref.ref(Knot())
    hand.makes(MOST_NEW)
    assert knot() is not None
