"""Who goes first: little use is not slowed by much use, and nobody is shut out.

The machine here is two cores' worth of step times on a virtual clock; only the rules are real.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_bench import Run, ask, run_jobs

from appliance.schema.sampling import Sampling
from appliance.worker.backend import Shape
from appliance.worker.engine import Bounds, Engine
from appliance.worker.fake import FakeBackend
from appliance.worker.gauge import Gauge
from appliance.worker.precedence import (
    AHEAD_RATIO,
    AHEAD_S,
    OVERDRAWN_GAPS,
    PROMPT_PORTION,
    Precedence,
)

pytestmark = pytest.mark.unit

CPU = {1: 0.027, 2: 0.049, 3: 0.071, 4: 0.068, 5: 0.085, 6: 0.095, 7: 0.11, 8: 0.12}
PROMPT_TOKEN_S = 0.008
GAP_S = 1.0


def cpu(answers: int, prompt_tokens: int) -> float:
    return CPU.get(answers, 0.0) + PROMPT_TOKEN_S * prompt_tokens


def slow_cpu(answers: int, prompt_tokens: int) -> float:
    """A token each for eight takes four times what those who go first leave in a second."""
    return 2 * CPU.get(answers, 0.0) + 0.021 * prompt_tokens


def gpu(answers: int, prompt_tokens: int) -> float:
    return 0.01 + 0.00002 * (answers + prompt_tokens)


def big_gpu(answers: int, prompt_tokens: int) -> float:
    """Of an 8B model: nearly three times as long with 64 answers as with one."""
    return 0.012 + 0.00035 * answers + 0.0001 * prompt_tokens


@dataclass
class Machine:
    """Answers by request as tokens left; prompts likewise, computed before the answer begins."""

    step_s: Callable[[int, int], float] = cpu
    kept: float = 0.9
    now_s: float = 0.0
    users: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    spoke_at_s: dict[str, float] = field(default_factory=dict)
    ended_at_s: dict[str, float] = field(default_factory=dict)
    longest_gap_s: float = 0.0

    def __post_init__(self) -> None:
        self.precedence = Precedence(kept=self.kept, gap_s=GAP_S)
        self.gauge = Gauge(0.0)
        for _ in range(30):  # what steps take is known before
            for answers in range(1, 9):
                self.gauge.computed(answers, self.step_s(answers, 0))
                self.gauge.computed(answers + 64, self.step_s(answers, 64))

    def asks(self, request_id: str, user: str, *, prompt: int = 0, answer: int = 100) -> None:
        self.users[request_id] = user
        self.prompts[request_id] = prompt
        self.answers[request_id] = answer
        self.spoke_at_s[request_id] = self.now_s

    def step(self) -> set[str]:
        """Runs one; returns who took part."""
        running = {one: self.users[one] for one, left in self.answers.items() if left}
        decoding = [one for one in running if not self.prompts[one]]
        turn = self.precedence.turn(running, decoding, self.gauge, self.now_s)
        speaking = [one for one in decoding if one not in turn.out]
        room = PROMPT_PORTION if turn.prompt_tokens is not None else 100
        spans = dict.fromkeys(speaking, 1)
        for one in running:
            if self.prompts[one] and one not in turn.out and room:
                spans[one] = min(room, self.prompts[one])
                room -= spans[one]
        assert spans, "somebody always takes part"
        seconds = self.step_s(len(speaking), sum(spans.values()) - len(speaking))
        self.now_s += seconds
        for one, count in spans.items():
            self.tokens[one] = self.tokens.get(one, 0) + count
            if self.prompts[one]:
                self.prompts[one] -= count
            else:
                self.answers[one] -= 1
                self.longest_gap_s = max(self.longest_gap_s, self.now_s - self.spoke_at_s[one])
                if not self.answers[one]:
                    self.ended_at_s[one] = self.now_s
            self.spoke_at_s[one] = self.now_s
        self.precedence.charge(spans, seconds, self.now_s)
        self.gauge.computed(sum(spans.values()), seconds)
        return set(spans)

    def until_ended(self, request_id: str) -> float:
        since_s = self.now_s
        while request_id not in self.ended_at_s:
            self.step()
        return self.ended_at_s[request_id] - since_s


def flooded(machine: Machine, answers: int = 3) -> Machine:
    for number in range(answers):
        machine.asks(f"flood {number}", "flooder", answer=10_000)
    while machine.now_s < 30:
        machine.step()
    return machine


@pytest.mark.parametrize("others", [1, 3, 7])
def test_an_answer_beside_a_flooder_lasts_about_as_long_as_alone(others: int) -> None:
    alone = Machine()
    alone.asks("hello", "polite", prompt=100, answer=60)
    machine = flooded(Machine(), others)
    machine.asks("hello", "polite", prompt=100, answer=60)
    assert machine.until_ended("hello") <= 1.2 * alone.until_ended("hello")


def test_what_was_learnt_of_other_steps_long_ago_slows_nobody() -> None:
    machine = Machine()
    for _ in range(40):
        machine.gauge.computed(1, 0.05)
    flooded(machine, 3)
    for _ in range(30):  # short prompts beside answers, which cost hardly more than answers alone
        machine.gauge.computed(30, CPU[3])
    machine.asks("hello", "polite", answer=60)
    assert machine.until_ended("hello") < 1.2 * 60 * CPU[1]


def test_a_flooder_is_not_shut_out_and_waits_for_no_token_longer_than_the_gap() -> None:
    machine = flooded(Machine())
    before = dict(machine.tokens)
    machine.longest_gap_s = 0.0
    machine.asks("hello", "polite", answer=200)
    machine.until_ended("hello")
    assert machine.longest_gap_s <= GAP_S + CPU[4]
    assert all(machine.tokens[f"flood {n}"] > before[f"flood {n}"] for n in range(3))


def test_on_a_slow_machine_a_flooders_tokens_come_less_often_rather_than_at_anothers_cost() -> None:
    alone = Machine(slow_cpu)
    alone.asks("hello", "polite", answer=200)
    machine = flooded(Machine(slow_cpu), 7)
    machine.asks("hello", "polite", answer=200)
    machine.longest_gap_s = 0.0
    assert machine.until_ended("hello") <= 1.15 * alone.until_ended("hello")
    assert GAP_S < machine.longest_gap_s <= OVERDRAWN_GAPS * GAP_S + 2 * CPU[8]


def test_a_short_prompt_is_computed_without_a_flooders_answers_a_long_one_soon_with_them() -> None:
    machine = flooded(Machine())
    machine.asks("short", "polite", prompt=20)
    assert machine.step() == {"short"}
    machine.until_ended("short")
    machine.asks("long", "polite", prompt=1_000, answer=1)
    machine.longest_gap_s = 0.0
    machine.until_ended("long")
    assert machine.longest_gap_s <= OVERDRAWN_GAPS * GAP_S


def test_a_flooders_prompts_advance_too() -> None:
    machine = flooded(Machine())
    machine.asks("long", "flooder", prompt=1_000)
    machine.asks("hello", "polite", answer=500)
    machine.until_ended("hello")
    assert PROMPT_PORTION <= machine.tokens["long"] <= 300


def test_who_has_used_nearly_as_much_shares_from_then_on() -> None:
    machine = flooded(Machine())
    machine.asks("essay", "other", answer=5_000)
    first = [machine.step() for _ in range(100)]
    assert sum(len(spans) == 1 for spans in first) > 90
    while len(machine.step()) < 4:
        assert machine.now_s < 60, "an essay does not go first for ever"
    later = [machine.step() for _ in range(1_000)]
    assert sum(len(spans) == 4 for spans in later) > 300


def test_people_who_use_the_same_share_every_step() -> None:
    machine = Machine()
    for number in range(4):
        machine.asks(f"r{number}", f"user {number}", answer=2_000)
    assert all(len(machine.step()) == 4 for _ in range(1_999))


def test_where_steps_cost_the_same_with_everybody_nobody_sits_out() -> None:
    machine = flooded(Machine(gpu))
    machine.asks("hello", "polite", answer=200)
    together = sum(len(machine.step()) == 4 for _ in range(200))
    assert together > 185, "but for some that show what steps cost"


def test_without_an_order_everybody_takes_part() -> None:
    machine = flooded(Machine(kept=0.0))
    machine.asks("hello", "polite", answer=200)
    assert all(len(machine.step()) == 4 for _ in range(200))


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(0, 400), st.integers(1, 80), st.integers(0, 60)
        ),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([0.0, 0.5, 0.9, 0.99]),
)
def test_all_end_whoever_asks_when(asked: list[tuple[str, int, int, int]], kept: float) -> None:
    machine = Machine(kept=kept)
    for number, (user, prompt, answer, pause) in enumerate(asked):
        if sum(map(bool, machine.answers.values())) < 8:
            machine.asks(f"r{number}", user, prompt=prompt, answer=answer)
        for _ in range(pause):
            if any(machine.answers.values()):
                machine.step()
    for request_id in list(machine.answers):
        machine.until_ended(request_id)


def test_nobody_goes_first_where_that_would_leave_most_of_a_step_unused() -> None:
    machine = flooded(Machine(step_s=big_gpu), 63)
    machine.asks("hello", "polite", prompt=100, answer=100)
    while machine.prompts["hello"]:
        machine.step()
    assert all(len(machine.step()) == 64 for _ in range(100))


def test_many_who_go_first_fill_a_step_on_a_gpu_too() -> None:
    machine = flooded(Machine(step_s=big_gpu), 32)
    for number in range(32):
        machine.asks(f"hello {number}", f"polite {number}", answer=20)
    spans = [machine.step() for _ in range(19)]
    assert sum(len(one) == 32 for one in spans) > 15


def test_a_small_lead_is_none() -> None:
    machine = Machine()
    machine.asks("short", "a", answer=int(AHEAD_S / CPU[1]) - 1)
    machine.until_ended("short")
    machine.asks("more", "a")
    machine.asks("hello", "b")
    assert len(machine.step()) == 2
    assert AHEAD_RATIO > 1


def test_those_who_ask_in_turn_share_every_step_with_whoever_comes_new() -> None:
    machine = Machine()
    for number in range(4):
        machine.asks(f"first {number}", f"user {number}", prompt=130, answer=200 + 20 * number)
    machine.until_ended("first 0")
    for number in range(1, 4):
        machine.asks(f"next {number}", f"new {number}", prompt=130, answer=40)
        machine.until_ended(f"first {number}")
        running = {one for one, left in machine.answers.items() if left}
        while any(machine.prompts[one] for one in running):
            machine.step()
        assert machine.step() == running, "one question more is no lead"


@pytest.mark.parametrize("answer", [2_000, 10_000])
def test_a_flooder_of_long_answers_is_ahead_too(answer: int) -> None:
    machine = Machine()
    machine.asks("long", "flooder", answer=answer)
    machine.until_ended("long")
    machine.asks("long again", "flooder", answer=answer)
    while machine.now_s < 60:
        machine.step()
    machine.asks("hello", "polite", answer=100)
    spans = [machine.step() for _ in range(30)]
    assert sum(one == {"hello"} for one in spans) > 20


def test_an_engine_lets_who_asked_little_go_first_and_says_the_same_to_everybody() -> None:
    shape = Shape(slots=4, context_tokens=1024, cache_tokens=4096, step_tokens=128)
    sampling = Sampling(temperature=0, max_tokens=900)
    text = "tell me #tokens=900 #slow=8"
    floods = [ask(f"flood {n}", text, sampling, scope="flooder") for n in range(3)]
    asked: list[int] = []

    def go_on(engine: Engine, run: Run) -> None:
        if not asked and len(run.pieces("flood 0")) == 100:  # seconds of use
            asked.append(len(run.emitted))
            polite = ask("hello", "hi #tokens=60 #slow=8", sampling, scope="polite")
            engine.submit(polite)
        if any(end.request_id == "hello" for end in run.ends()):
            for flood in floods:
                engine.cancel(flood.request_id)

    bounds = Bounds(drafts_per_request=0)
    run = run_jobs(FakeBackend(shape), *floods, expect=4, on_step=go_on, bounds=bounds)
    told = run.steps_with("hello")
    assert len(told) == 60
    beside = [step for step in run.steps_with("flood 0") if told[0] <= step <= told[-1]]
    assert 1 <= len(beside) <= 15
    assert run.finished("hello").text.startswith("You said: hi You said: hi")
    whole = "You said: tell me " * 60
    assert all(whole.startswith("".join(run.pieces(flood.request_id))) for flood in floods)


def test_use_is_forgotten_over_a_weekend_on_a_machine_that_has_run_for_months() -> None:
    machine = Machine(now_s=1e7)
    machine.asks("long", "a", answer=1_000)
    machine.until_ended("long")
    machine.now_s += 2 * 86_400.0
    machine.asks("again", "a")
    machine.asks("hello", "b")
    assert len(machine.step()) == 2
