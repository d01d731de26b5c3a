"""A stuck engine is found out, working or idle; a slow or a stopped one is not blamed."""

import threading
from pathlib import Path

import pytest
from worker_bench import DEADLINE_S, SMALL, ask

from appliance.schema.sampling import Sampling
from appliance.worker import engine
from appliance.worker.archive import Archive, Search
from appliance.worker.backend import Backend
from appliance.worker.boot import BackendSettings, build_backend
from appliance.worker.engine import Engine
from appliance.worker.fake import FakeBackend
from appliance.worker.gauge import EngineStatus
from appliance.worker.jobs import Output
from appliance.worker.watchdog import Pulse, Watchdog

pytestmark = pytest.mark.unit


def pulse() -> Pulse:
    return Pulse(tick_s=1.0, wedged_after_s=5.0, probe_idle_s=3.0)


def busy(steps: int, longest_step_s: float = 0.1) -> EngineStatus:
    return EngineStatus(busy=1, steps=steps, longest_step_s=longest_step_s)


def test_work_without_a_step_for_the_whole_time_is_stuck() -> None:
    one = pulse()
    assert [one.look(busy(7), probing=False) for _ in range(6)] == ["well"] * 5 + ["stuck"]


def test_each_step_gives_it_all_the_time_again() -> None:
    one = pulse()
    for steps in range(5):
        assert {one.look(busy(steps), probing=False) for _ in range(5)} == {"well"}


def test_an_engine_of_long_steps_gets_four_times_its_longest() -> None:
    one = pulse()
    looks = [one.look(busy(7, longest_step_s=2.0), probing=False) for _ in range(9)]
    assert looks == ["well"] * 8 + ["stuck"]


def test_an_idle_engine_is_asked_and_must_answer() -> None:
    one = pulse()
    idle = EngineStatus(steps=7)
    assert [one.look(idle, probing=False) for _ in range(4)] == ["well"] * 3 + ["probe"]
    assert [one.look(idle, probing=True) for _ in range(5)] == ["well"] * 4 + ["stuck"]


class Watched:
    """A fake engine under a watchdog with short times."""

    def __init__(self, backend: Backend | None = None, archive: Archive | None = None) -> None:
        self.given_up: list[str] = []
        self.over = threading.Event()
        self.outputs: list[Output] = []
        self.engine = Engine(
            backend or build_backend(BackendSettings(engine="fake", shape=SMALL)),
            emit=self._emit,
            on_fatal=lambda error: None,
            archive=archive,
        )
        self.watchdog = Watchdog(
            self.engine, wedged_after_s=0.5, probe_idle_s=0.05, give_up=self._give_up
        )

    def _emit(self, outputs: list[Output]) -> None:
        kept = self.watchdog.passed(outputs)
        self.outputs += kept
        if len(kept) < len(outputs):
            self.over.set()

    def _give_up(self, reason: str) -> None:
        self.given_up.append(reason)
        self.over.set()


def test_the_probe_of_an_idle_engine_is_a_token_that_nobody_else_sees() -> None:
    one = Watched()
    one.engine.start()
    one.watchdog.start()
    assert one.over.wait(DEADLINE_S)
    one.watchdog.stop()
    one.engine.stop()
    assert one.engine.join(DEADLINE_S)
    assert one.given_up == []
    assert one.outputs == []


def test_an_engine_that_hangs_in_a_step_is_given_up() -> None:
    one = Watched()
    one.engine.submit(ask("a", "#hang=2 stuck", Sampling(temperature=0)))
    one.engine.start()
    one.watchdog.start()
    assert one.over.wait(DEADLINE_S)
    assert one.given_up == ["the engine has work and makes no step"]


def test_an_engine_that_hears_nothing_is_given_up_too() -> None:
    one = Watched()
    one.watchdog.start()  # the engine's thread does not run
    assert one.over.wait(DEADLINE_S)
    assert one.given_up == ["the engine has work and makes no step"]


class Speechless(FakeBackend):
    """Makes no tokens of a text until it is let go."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        self.released = threading.Event()

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        assert self.released.wait(DEADLINE_S)
        return super().tokenize(text, special=special)


class Silent(Archive):
    """Answers no search."""

    def search(self, search: Search) -> None:
        pass


def test_a_prompt_that_never_comes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PREPARING_AT_MOST_S", 0.01)  # the engine's looks are no steps
    backend = Speechless()
    one = Watched(backend)
    one.engine.submit(ask("a", "one", Sampling(temperature=0)))
    one.engine.start()
    one.watchdog.start()
    assert one.over.wait(DEADLINE_S)
    assert one.given_up == ["the engine has work and makes no step"]
    backend.released.set()
    one.engine.stop()
    assert one.engine.join(DEADLINE_S)


def test_a_search_that_never_ends_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "PREPARING_AT_MOST_S", 0.01)
    archive = Silent(tmp_path, bound_bytes=1_000_000, stamp="fake")
    one = Watched(archive=archive)
    one.engine.submit(ask("a", "tell me about the library. " * 8, scope="ann"))
    one.engine.start()
    one.watchdog.start()
    assert one.over.wait(DEADLINE_S)
    assert one.given_up == ["the engine has work and makes no step"]
    one.engine.stop()
    assert one.engine.join(DEADLINE_S)
