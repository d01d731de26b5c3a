"""The state machine against a model that only knows whether a process exists."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from appliance.errors import EXIT_CANNOT_BOOT
from appliance.supervisor.machine import Action, Ended, Machine, Policy, State, describe

pytestmark = pytest.mark.unit

POLICY = Policy(
    start_timeout_s=20.0,
    stop_timeout_s=5.0,
    backoff_first_s=0.2,
    backoff_cap_s=30.0,
    restarts=5,
    window_s=60.0,
)
CRASH = Ended(status=1, words="Traceback\nKeyError: 'x'\n")


def state_of(machine: Machine) -> State:
    """Read through a function, for mypy believes that what it has seen once stays."""
    return machine.state


def started(policy: Policy = POLICY) -> Machine:
    machine = Machine(policy)
    assert machine.start(0.0) == (Action.SPAWN,)
    return machine


def test_a_started_child_is_starting_until_it_says_that_it_is_ready() -> None:
    machine = started()
    assert machine.state == "starting"
    machine.progressed("loading 40 %")
    assert machine.detail == "loading 40 %"
    machine.became_ready(1.0)
    assert state_of(machine) == "ready"
    assert machine.detail == ""


def test_a_crashed_child_waits_longer_each_time_up_to_the_cap() -> None:
    machine = started(Policy(restarts=1_000, backoff_first_s=0.2, backoff_cap_s=30.0))
    now, delays = 0.0, []
    for _ in range(10):
        assert machine.ended(CRASH, now, jitter=0.0) == ()
        assert machine.state == "backing_off"
        assert machine.wake_at is not None
        delays.append(round(machine.wake_at - now, 3))
        now = machine.wake_at
        assert machine.tick(now) == (Action.SPAWN,)
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_a_child_that_ran_long_enough_starts_over_with_the_shortest_pause() -> None:
    machine = started()
    machine.ended(CRASH, 1.0, jitter=0.0)
    machine.tick(10.0)
    machine.became_ready(11.0)
    machine.ended(CRASH, 11.0 + POLICY.window_s, jitter=0.0)
    assert machine.wake_at == pytest.approx(11.0 + POLICY.window_s + 0.2)


def test_more_restarts_than_allowed_give_the_child_up_with_its_reason() -> None:
    machine = started()
    for second in range(POLICY.restarts):
        machine.ended(CRASH, float(second), jitter=0.0)
        assert machine.state == "backing_off"
        machine.tick(machine.wake_at or 0.0)
    machine.ended(CRASH, 10.0, jitter=0.0)
    assert machine.state == "failed"
    assert "5 restarts in 60 s did not help" in machine.detail
    assert "KeyError: 'x'" in machine.detail
    assert machine.wake_at is None


def test_crashes_further_apart_than_the_window_are_bad_luck() -> None:
    machine, now = started(), 0.0
    for _ in range(20):
        now += POLICY.window_s / POLICY.restarts + 0.1
        machine.ended(CRASH, now, jitter=0.5)
        assert machine.state == "backing_off"
        now = max(now, machine.wake_at or 0.0)
        machine.tick(now)


@pytest.mark.parametrize(
    "end",
    [
        Ended(status=EXIT_CANNOT_BOOT, words="no such model: qwen.gguf"),
        Ended(status=1, words="no such model: qwen.gguf", cannot_boot=True, hint="choose another"),
        Ended(status=None, words="no such model: qwen.gguf", cannot_boot=True),
    ],
)
def test_a_child_that_cannot_boot_fails_at_once_with_its_own_last_words(end: Ended) -> None:
    machine = started()
    assert machine.ended(end, 1.0, jitter=0.0) == ()
    assert machine.state == "failed"
    assert "no such model: qwen.gguf" in machine.detail
    assert end.hint in machine.detail
    assert machine.restarts == 0


def test_an_operator_retries_what_failed() -> None:
    machine = started()
    machine.ended(Ended(status=EXIT_CANNOT_BOOT), 1.0, jitter=0.0)
    assert machine.start(2.0) == ()
    assert machine.retry(2.0) == (Action.SPAWN,)
    machine.became_ready(3.0)
    assert machine.retry(4.0) == ()
    assert machine.state == "ready"


def test_a_child_that_is_never_ready_is_killed_and_restarted() -> None:
    machine = started()
    machine.progressed("loading 40 %")
    assert machine.tick(POLICY.start_timeout_s - 0.1) == ()
    assert machine.tick(POLICY.start_timeout_s) == (Action.KILL,)
    machine.became_ready(POLICY.start_timeout_s)  # too late: the signal is on its way
    assert machine.state == "starting"
    machine.ended(Ended(status=-9), POLICY.start_timeout_s + 0.1, jitter=0.0)
    assert state_of(machine) == "backing_off"
    assert machine.detail == "not ready after 20 s: loading 40 %"


def test_a_child_that_ignores_sigterm_is_killed_at_the_stop_deadline() -> None:
    machine = started()
    machine.became_ready(1.0)
    assert machine.stop(2.0, timeout_s=3.0) == (Action.TERMINATE,)
    assert machine.tick(4.9) == ()
    assert machine.tick(5.0) == (Action.KILL,)
    assert machine.ended(Ended(status=-9), 5.1, jitter=0.0) == ()
    assert machine.state == "stopped"


def test_a_later_stop_may_shorten_the_deadline_but_not_extend_it() -> None:
    machine = started()
    machine.stop(0.0, timeout_s=10.0)
    machine.stop(0.0, timeout_s=60.0)
    assert machine.wake_at == 10.0
    machine.stop(0.0, timeout_s=1.0)
    assert machine.wake_at == 1.0


def test_a_restart_waits_for_the_end_and_does_not_count_as_a_crash() -> None:
    machine = started()
    machine.became_ready(1.0)
    assert machine.restart(2.0) == (Action.TERMINATE,)
    assert machine.ended(Ended(status=0), 3.0, jitter=0.0) == (Action.SPAWN,)
    assert machine.restarts == 0


def test_a_stop_during_a_restart_wins() -> None:
    machine = started()
    machine.restart(1.0)
    machine.stop(2.0, timeout_s=1.0)
    assert machine.ended(Ended(status=0), 3.0, jitter=0.0) == ()
    assert machine.state == "stopped"


def test_a_stop_while_backing_off_cancels_the_restart() -> None:
    machine = started()
    machine.ended(CRASH, 1.0, jitter=0.0)
    assert machine.stop(1.1, timeout_s=5.0) == ()
    assert machine.state == "stopped"
    assert machine.tick(100.0) == ()


def test_an_unasked_clean_exit_is_a_crash_too() -> None:
    machine = started()
    machine.became_ready(1.0)
    machine.ended(Ended(status=0), 2.0, jitter=0.0)
    assert machine.state == "backing_off"
    assert machine.detail == "ended by itself with status 0"


def test_a_child_that_stays_silent_is_killed_and_one_that_hesitates_is_not() -> None:
    machine = started()
    machine.became_ready(1.0)
    for _ in range(10):
        assert machine.unanswered() == ()
        assert machine.unanswered() == ()
        machine.answered()
    assert machine.unanswered() == ()
    assert machine.unanswered() == ()
    assert machine.unanswered() == (Action.KILL,)
    assert machine.unanswered() == ()
    machine.ended(Ended(status=-9), 2.0, jitter=0.0)
    assert machine.detail == "did not answer 3 times in a row"
    machine.tick(10.0)
    machine.became_ready(11.0)
    assert machine.unanswered() == ()


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (Ended(status=-11), "was ended by SIGSEGV"),
        (Ended(status=-77), "was ended by signal 77"),
        (Ended(status=3, words=" \n"), "ended by itself with status 3"),
        (
            Ended(status=1, words="Traceback\n x\nKeyError: 'x'\n"),
            "ended by itself with status 1: KeyError: 'x'",
        ),
        (
            Ended(status=-6, words="ready\nGGML_ASSERT failed"),
            "was ended by SIGABRT: GGML_ASSERT failed",
        ),
        (Ended(status=-9, words="ready to accept connections"), "was ended by SIGKILL"),
        (Ended(status=None, words="no memory"), "could not be started: no memory"),
        (Ended(status=78, words="a", hint="b"), "cannot start as configured: a (b)"),
    ],
)
def test_the_end_is_put_in_words(end: Ended, sentence: str) -> None:
    assert describe(end) == sentence


@settings(deadline=None)
@given(
    failures=st.integers(0, 200),
    jitter=st.floats(0, 1, exclude_max=True),
    first_s=st.floats(0.01, 5),
    cap_s=st.floats(5, 100),
)
def test_the_pause_is_never_shorter_than_the_first_nor_longer_than_the_cap(
    failures: int, jitter: float, first_s: float, cap_s: float
) -> None:
    policy = Policy(restarts=10_000, backoff_first_s=first_s, backoff_cap_s=cap_s)
    machine, now = started(policy), 0.0
    for _ in range(failures + 1):
        machine.ended(CRASH, now, jitter=jitter)
        assert machine.wake_at is not None
        assert now + first_s <= machine.wake_at <= now + cap_s
        now = machine.wake_at
        machine.tick(now)


class Life(RuleBasedStateMachine):
    """Any order of wishes and accidents. The model: does a process exist, who asked for it."""

    @initialize()
    def begin(self) -> None:
        self.machine = Machine(POLICY)
        self.now = 0.0
        self.alive = False
        self.killed = False
        self.wanted = False
        self.crashes: list[float] = []

    def do(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if action is Action.SPAWN:
                assert not self.alive, "a second process for one child"
                assert self.wanted, "spawned after it was asked to stop"
                self.alive, self.killed = True, False
            else:
                assert self.alive, "a signal for a process that does not exist"
                self.killed |= action is Action.KILL

    @rule()
    def start(self) -> None:
        if self.machine.state == "stopped":
            self.wanted = True
        self.do(self.machine.start(self.now))

    @rule()
    def retry(self) -> None:
        if self.machine.state in ("failed", "backing_off", "stopped"):
            self.wanted, self.crashes = True, []
        self.do(self.machine.retry(self.now))

    @rule()
    def restart(self) -> None:
        self.wanted, self.crashes = True, []
        self.do(self.machine.restart(self.now))

    @rule(timeout_s=st.floats(0, 30))
    def stop(self, timeout_s: float) -> None:
        self.wanted = False
        self.do(self.machine.stop(self.now, timeout_s=timeout_s))
        assert self.machine.state in ("stopped", "stopping")

    @rule()
    def ready(self) -> None:
        self.do(self.machine.became_ready(self.now))

    @rule(answers=st.lists(st.booleans(), max_size=4))
    def asked(self, answers: list[bool]) -> None:
        for answer in answers:
            self.do(self.machine.answered() if answer else self.machine.unanswered())

    @rule(passed_s=st.floats(0, 100))
    def time_passes(self, passed_s: float) -> None:
        self.now += passed_s
        self.do(self.machine.tick(self.now))

    @precondition(lambda self: self.machine.wake_at is not None)
    @rule()
    def deadline(self) -> None:
        self.now = max(self.now, self.machine.wake_at or 0.0)
        self.do(self.machine.tick(self.now))

    @precondition(lambda self: self.alive)
    @rule(status=st.sampled_from([0, 1, -9, -11, EXIT_CANNOT_BOOT]), jitter=st.floats(0, 0.99))
    def end(self, status: int, jitter: float) -> None:
        self.alive = False
        asked = self.machine.state == "stopping"
        self.do(self.machine.ended(Ended(status=status), self.now, jitter=jitter))
        if asked:
            assert (self.machine.state == "starting") is self.wanted
        elif status == EXIT_CANNOT_BOOT:
            assert self.machine.state == "failed"
        elif self.machine.state == "backing_off":
            self.crashes.append(self.now)

    @invariant()
    def a_process_exists_exactly_in_the_states_that_say_so(self) -> None:
        assert self.alive is (self.machine.state in ("starting", "ready", "stopping"))

    @invariant()
    def every_wait_has_an_end(self) -> None:
        waits = self.machine.state in ("starting", "stopping", "backing_off") and not self.killed
        if waits:
            assert self.machine.wake_at is not None
        if self.machine.state in ("stopped", "failed", "ready"):
            assert self.machine.wake_at is None

    @invariant()
    def it_does_not_restart_more_often_than_allowed(self) -> None:
        recent = [at for at in self.crashes if self.now - at < POLICY.window_s]
        assert len(recent) <= POLICY.restarts


Life.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
