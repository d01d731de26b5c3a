"""The worker model: small cases by hand, and any case against a worker that steps one by one."""

from collections import deque
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.placement.fleet import Job
from appliance.simulator.constants import Constants
from appliance.simulator.kv import PrefixCache
from appliance.simulator.worker import NEVER, SimWorker
from appliance.worker.precedence import Precedence

pytestmark = pytest.mark.unit

MODEL = Constants(
    step_s=1.0, input_s=0.5, output_s=0.25, chunk_tokens=8, slots=4, kv_tokens=1_000_000
)
DEARER_ANSWERS = msgspec.structs.replace(MODEL, step_s=0.8, output_s=0.45)
GAP_S = 20.0


def worker(kept: float | None = None, model: Constants = MODEL) -> SimWorker:
    rule = None if kept is None else Precedence(kept=kept, gap_s=GAP_S)
    return SimWorker(model, 0, lambda block: None, lambda blocks: None, 512, rule)


def job(name: int, tokens: int, blocks: tuple[int, ...] = ()) -> Job:
    return Job(name, tokens, 1.0, blocks, 0.0)


def played(
    made: SimWorker, arrivals: list[tuple[float, int, int]], users: str = ""
) -> dict[int, list[float]]:
    """First token and end of each (time, prompt, output), all of which find a slot."""
    happened: dict[int, list[float]] = {}
    for name, (at_s, tokens, output) in enumerate(arrivals):
        for happening in made.advance(at_s):
            happened.setdefault(int(happening.sequence.job.id), []).append(happening.at_s)
        made.start(job(name, tokens), output, at_s, users[name : name + 1])
    while made.next_s != NEVER:
        for happening in made.advance(made.next_s):
            happened.setdefault(int(happening.sequence.job.id), []).append(happening.at_s)
    return happened


def test_one_request_takes_the_steps_of_its_prompt_and_one_per_further_token() -> None:
    # 8 + 4 prompt tokens: 1 + 4 and 1 + 2 seconds; then three steps of 1.25 seconds.
    assert played(worker(), [(10.0, 12, 4)]) == {0: [18.0, 21.75]}


def test_a_second_prompt_shares_its_steps_with_the_first_ones_decoding() -> None:
    # Until 5: the first prompt. The second came at 1 and joins then: 7 prompt tokens beside one
    # running sequence, 1 + 3.5 + 0.25 = 4.75 seconds.
    times = played(worker(), [(0.0, 8, 3), (1.0, 7, 1)])
    assert times == {0: [5.0, 11.0], 1: [9.75, 9.75]}


def test_a_slower_worker_takes_longer_from_the_next_step_on() -> None:
    made = worker()
    made.start(job(0, 8), 3, 0.0)
    made.slow_down(2.0, 1.0)
    times = [happening.at_s for happening in made.advance(100.0)]
    assert times == [5.0, 10.0]


@dataclass
class Naive:
    """Steps one by one, without any arithmetic of jumps."""

    model: Constants

    def play(self, arrivals: list[tuple[float, int, int]]) -> dict[int, list[float]]:
        waiting = deque(enumerate(arrivals))
        prompts: list[list[int]] = []
        outputs: list[list[int]] = []
        happened: dict[int, list[float]] = {}
        now_s = 0.0
        while waiting or prompts or outputs:
            if not prompts and not outputs:
                now_s = max(now_s, waiting[0][1][0])
            while waiting and waiting[0][1][0] <= now_s:
                name, (_, tokens, output) = waiting.popleft()
                prompts.append([name, tokens, output])
            room = max(1, self.model.chunk_tokens - len(outputs))
            taken, first = 0, []
            for prompt in prompts:
                part = min(room - taken, prompt[1])
                prompt[1] -= part
                taken += part
            first = [prompt for prompt in prompts if prompt[1] == 0]
            prompts = [prompt for prompt in prompts if prompt[1] > 0]
            now_s += (
                self.model.step_s + self.model.input_s * taken + self.model.output_s * len(outputs)
            )
            for running in outputs:
                running[1] -= 1
            for name, _, output in first:
                happened.setdefault(name, []).append(now_s)
                outputs.append([name, output - 1])
            for name, left in outputs:
                if left == 0:
                    happened[name].append(now_s)
            outputs = [running for running in outputs if running[1] > 0]
        return happened


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 50), st.integers(1, 20)),
        min_size=1,
        max_size=12,
    )
)
def test_jumping_equals_stepping(gaps: list[tuple[int, int, int]]) -> None:
    # Prime fractions of a second keep arrivals off the boundaries of steps, where the two may
    # differ by rounding.
    at_s, arrivals = 0.0, []
    for gap, tokens, output in gaps:
        at_s += gap / 7 + 0.0001234
        arrivals.append((at_s, tokens, output))
    jumped, stepped = played(worker(), arrivals), Naive(MODEL).play(arrivals)
    assert jumped.keys() == stepped.keys()
    for name, times in stepped.items():
        assert jumped[name] == pytest.approx(times)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 50), st.integers(1, 20)),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_one_user_alone_is_never_held_back_nor_anybody_without_a_kept_pace(
    gaps: list[tuple[int, int, int]], several: bool
) -> None:
    arrivals = [
        (sum(gap for gap, _, _ in gaps[: number + 1]) / 7 + 0.0001234, tokens, output)
        for number, (_, tokens, output) in enumerate(gaps)
    ]
    plain = played(worker(), arrivals)
    ruled = (
        played(worker(0.0), arrivals, "abcabcabcabc")
        if several
        else played(worker(0.9), arrivals, "aaaaaaaaaaaa")
    )
    assert ruled.keys() == plain.keys()
    for name, times in plain.items():
        assert ruled[name] == pytest.approx(times)


def test_who_has_used_less_is_answered_as_if_alone_and_nobody_is_shut_out() -> None:
    # Three long answers of one user; another asks a while later. A step with one answer lasts
    # 1.25 seconds, with four 2.6. The gap of 20 seconds lets the others into a step now and then.
    flood = [(0.0, 1, 200)] * 3
    late = [*flood, (100.3, 8, 40)]
    alone_s = [4.8, 4.8 + 39 * 1.25]
    played_with = {kept: played(worker(kept, DEARER_ANSWERS), late, "fffp") for kept in (0.0, 0.9)}
    equal, ruled = (played_with[kept][3] for kept in (0.0, 0.9))
    assert equal[1] - 100.3 > 1.5 * alone_s[1]
    assert ruled[1] - 100.3 < 1.25 * alone_s[1]
    ends = [times[1] for name, times in played_with[0.9].items() if name != 3]
    flood_s = max(times[1] for times in played(worker(model=DEARER_ANSWERS), flood).values())
    assert max(ends) <= alone_s[1] + flood_s + GAP_S


def test_nobody_sits_out_where_those_who_go_first_would_leave_most_of_a_step_unused() -> None:
    # With four answers a step lasts 2 seconds: one alone is two fifths of the tokens per second.
    late = [(0.0, 1, 200)] * 3 + [(100.3, 8, 40)]
    equal, ruled = (played(worker(kept), late, "fffp")[3] for kept in (0.0, 0.9))
    assert ruled[1] - equal[1] < 1.0


def test_a_prompt_of_whoever_has_used_less_overtakes() -> None:
    first = [(0.0, 400, 5), (0.1, 400, 5), (60.2, 16, 5)]
    equal, ruled = (played(worker(kept), first, "ffp") for kept in (0.0, 0.9))
    assert equal[2][0] > equal[1][0]
    assert ruled[2][0] < ruled[0][0] < ruled[1][0]


def test_a_known_prefix_is_not_computed_again() -> None:
    made = worker()
    made.start(job(0, 1030, (1, 2)), 1, 0.0)
    list(made.advance(1e9))
    again = made.start(job(1, 1030, (1, 2)), 1, 1e9)
    other = made.start(job(2, 1030, (1, 9)), 1, 1e9)
    assert (again.left_tokens, other.left_tokens) == (6, 518)


def test_a_wholly_known_prompt_still_computes_a_block() -> None:
    made = worker()
    made.start(job(0, 1024, (1, 2)), 1, 0.0)
    list(made.advance(1e9))
    assert made.start(job(1, 1024, (1, 2)), 1, 1e9).left_tokens == 512


def test_the_least_recently_used_prefix_leaves_first_and_its_end_before_its_beginning() -> None:
    gone: list[int] = []
    cache = PrefixCache(40, 10, gone.append)
    for blocks in ((1, 2), (3,)):
        private = cache.open(blocks, 0, 10 * len(blocks))
        private -= cache.store(blocks, 0)
        cache.close(blocks, private)
    assert cache.free == 40
    cache.open((), 0, 25)
    assert gone == [2, 1]
    assert cache.match((3,)) == 1


@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(0, 3), min_size=1, max_size=4)), max_size=60
    )
)
def test_memory_is_never_exceeded_and_all_comes_back(
    events: list[tuple[bool, list[int]]],
) -> None:
    held: set[int] = set()
    cache = PrefixCache(100, 10, held.discard)
    running: list[tuple[tuple[int, ...], int]] = []
    for opens, path in events:
        # Blocks of one prefix: each id names the whole way to it.
        blocks = tuple(
            sum((v + 1) * 5**i for i, v in enumerate(path[: n + 1])) for n in range(len(path))
        )
        if opens:
            matched = cache.match(blocks)
            tokens = 10 * len(blocks) + 3
            if cache.needs(blocks, matched, tokens) <= cache.free:
                private = cache.open(blocks, matched, tokens)
                private -= cache.store(blocks, matched)
                held.update(blocks)
                running.append((blocks, private))
        elif running:
            cache.close(*running.pop(0))
        pinned = {block for blocks, _ in running for block in blocks}
        assert pinned <= held
        assert 10 * len(held) + 3 * len(running) <= 100
        assert cache.free == 100 - 10 * len(pinned) - 3 * len(running)
        assert all(cache.match((block,)) == (block in held) for block in range(0, 1000, 7))
    for blocks, private in running:
        cache.close(blocks, private)
    assert cache.free == 100
