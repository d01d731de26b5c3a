"""The engine when things go wrong: failing steps, full queues, and models that break for good."""

import threading

import pytest
from worker_bench import DEADLINE_S, GREEDY, SMALL, Run, Watched, ask, failed, run_jobs

from appliance.errors import Invalid, Overloaded, Unavailable
from appliance.schema.sampling import Sampling
from appliance.worker.backend import Chunk, Outcome, Unless, Vectors
from appliance.worker.embedding import GIVEN_UP_AT_MOST
from appliance.worker.engine import Bounds, Engine
from appliance.worker.fake import FakeBackend
from appliance.worker.jobs import EmbedJob, Finished, Output
from appliance.worker.stepper import FAILED_STEPS_BOUND

pytestmark = pytest.mark.unit


class Faulty(Watched):
    """A fake that misbehaves in the steps, samples or embeddings it is told to."""

    def __init__(self) -> None:
        super().__init__(FakeBackend(SMALL))
        self.outcomes: dict[int, Outcome] = {}  # by number of the step
        self.raises_in_steps: set[int] = set()
        self.raises_for: str = ""  # text in a prompt that cannot be tokenised or embedded
        self.raises_sampling: set[int] = set()  # slots

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        if self.raises_for and self.raises_for in text:
            raise ValueError("cannot be tokenised")
        return super().tokenize(text, special=special)

    def decode(self, chunks: list[Chunk]) -> Outcome:
        number = len(self.steps)
        if number in self.raises_in_steps:
            self.steps.append(chunks)
            raise RuntimeError("the model crashed")
        if number in self.outcomes:
            self.steps.append(chunks)
            return self.outcomes[number]
        return super().decode(chunks)

    def sample(self, sequence: int, row: int = 0) -> int:
        if sequence in self.raises_sampling:
            raise RuntimeError("no logits")
        return super().sample(sequence, row)

    def embed(self, texts: list[list[int]], unless: Unless | None = None) -> Vectors:
        poisoned = self.inner.embedding_tokens(self.raises_for, "query")
        if self.raises_for and poisoned in texts:
            raise Unavailable("cannot be embedded")
        return super().embed(texts, unless)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.BROKEN])
def test_a_failing_step_fails_the_requests_in_it_and_no_later_ones(outcome: Outcome) -> None:
    backend = Faulty()
    backend.outcomes = {3: outcome}

    def ask_again(engine: Engine, run: Run) -> None:
        if len(backend.steps) == 4 and len(run.all()) and "late" not in asked:
            asked.append("late")
            engine.submit(ask("late", "hello"))

    asked: list[str] = []
    run = run_jobs(backend, ask("a", "one"), ask("b", "two"), expect=3, on_step=ask_again)
    assert run.rejected("a").reason == run.rejected("b").reason == "engine_error"
    assert run.finished("late").text == "You said: hello"
    assert run.fatal is None


def test_an_exception_in_a_step_is_a_failing_step() -> None:
    backend = Faulty()
    backend.raises_in_steps = {0}
    assert run_jobs(backend, ask("a", "one")).rejected("a").reason == "engine_error"


def test_a_full_cache_costs_the_newest_request_and_the_others_go_on() -> None:
    backend = Faulty()
    backend.outcomes = {2: Outcome.NO_ROOM}
    run = run_jobs(backend, ask("a", "one"), ask("b", "two"))
    assert run.rejected("b").reason == "no_room"
    assert run.finished("a").text == "You said: one"


def test_a_request_that_cannot_be_sampled_fails_alone() -> None:
    backend = Faulty()
    backend.raises_sampling = {1}
    run = run_jobs(backend, ask("a", "one"), ask("b", "two"))
    ends = {type(run.end(one)).__name__ for one in ("a", "b")}
    assert ends == {"Finished", "Rejected"}


def test_a_request_whose_prompt_cannot_be_made_fails_alone() -> None:
    backend = Faulty()
    backend.raises_for = "poison"
    run = run_jobs(backend, ask("a", "poison"), ask("b", "two"))
    assert run.rejected("a").reason == "engine_error"
    assert run.finished("b").text == "You said: two"


def test_a_model_that_fails_step_after_step_is_given_up() -> None:
    backend = Faulty()
    backend.raises_in_steps = set(range(100))
    many = SMALL.slots * FAILED_STEPS_BOUND
    run = run_jobs(backend, *(ask(f"r{n}", "hello") for n in range(many)))
    assert isinstance(run.fatal, RuntimeError)
    assert len(backend.steps) == FAILED_STEPS_BOUND


def test_steps_that_fail_now_and_then_are_no_reason_to_give_up() -> None:
    backend = Faulty()
    backend.raises_in_steps = {2 * n for n in range(FAILED_STEPS_BOUND)}
    many = SMALL.slots * (FAILED_STEPS_BOUND + 1)
    run = run_jobs(backend, *(ask(f"r{n}", "hello") for n in range(many)))
    assert run.fatal is None
    assert run.finished(f"r{many - 1}").text == "You said: hello"


def test_text_held_back_for_a_stop_string_is_given_out_at_the_last_token() -> None:
    sampling = Sampling(max_tokens=3, stop=("said nothing",))
    run = run_jobs(FakeBackend(SMALL), ask("a", "hello", sampling))
    assert "".join(run.pieces("a")) == run.finished("a").text == "You said"


def test_failing_embeddings_fail_their_job_and_no_other() -> None:
    backend = Faulty()
    backend.raises_for = "poison"
    run = run_jobs(
        backend,
        EmbedJob(job_id="bad", texts=("poison",), kind="query"),
        EmbedJob(job_id="good", texts=("fine",), kind="passage"),
        bounds=Bounds(embed_step_tokens=1),
        expect=2,
    )
    assert failed(run, "bad").reason == "engine_error"


def test_a_text_in_the_background_is_given_up_a_few_times_at_most() -> None:
    """However many questions come: each time it begins, another one is asked."""
    engines: list[Engine] = []
    tries = 0

    class Pressed(Watched):
        def embed(self, texts: list[list[int]], unless: Unless | None = None) -> Vectors:
            nonlocal tries
            if unless is not None:
                tries += 1
                engines[0].embed(EmbedJob(job_id=f"q{tries}", texts=("a",), kind="query"))
            return super().embed(texts, unless)

    run = run_jobs(
        Pressed(FakeBackend(SMALL)),
        EmbedJob(job_id="import", texts=("one",), kind="passage", background=True),
        before=engines.append,
        bounds=Bounds(embed_rest_s=0.0),
        expect=1 + GIVEN_UP_AT_MOST,
    )
    assert len(run.embedded("import")) == 1
    assert tries == GIVEN_UP_AT_MOST


def test_an_import_has_a_small_share_of_the_time_while_an_answer_is_made() -> None:
    """Every step and every batch takes a second of a clock of its own."""
    at_s, batches = 0.0, 0

    class Timed(Watched):
        def decode(self, chunks: list[Chunk]) -> Outcome:
            nonlocal at_s
            at_s += 1.0
            return super().decode(chunks)

        def embed(self, texts: list[list[int]], unless: Unless | None = None) -> Vectors:
            nonlocal at_s, batches
            at_s, batches = at_s + 1.0, batches + 1
            return super().embed(texts, unless)

    texts = tuple(f"text {n}" for n in range(1000))
    run_jobs(
        Timed(FakeBackend(SMALL)),
        ask("a", "#tokens=60 x", Sampling(max_tokens=60)),
        EmbedJob(job_id="import", texts=texts, kind="query", background=True),
        bounds=Bounds(embed_share=0.1, embed_step_tokens=1, drafts_per_request=0),
        clock=lambda: at_s,
        expect=1,
    )
    assert at_s >= 60
    assert at_s / 10 - 1 <= batches <= at_s / 10 + 1


def test_more_open_requests_than_the_bound_are_refused_at_the_door() -> None:
    engine = _idle_engine(Bounds(requests=2))
    engine.submit(ask("a", "one"))
    engine.submit(ask("b", "two"))
    with pytest.raises(Overloaded):
        engine.submit(ask("c", "three"))


def test_an_ended_request_makes_place_for_another() -> None:
    names = ["b", "c"]

    def one_after_another(engine: Engine, run: Run) -> None:
        ended = sum(not hasattr(one, "text") or hasattr(one, "finish_reason") for one in run.all())
        if names and ended > asked[0]:
            asked[0] = ended
            engine.submit(ask(names.pop(0), "x"))

    asked = [0]
    run = run_jobs(
        FakeBackend(SMALL),
        ask("a", "x"),
        expect=3,
        on_step=one_after_another,
        bounds=Bounds(requests=1),
    )
    assert [run.finished(one).text for one in ("a", "b", "c")] == ["You said: x"] * 3


def test_embedding_jobs_are_bounded_in_number_and_size() -> None:
    engine = _idle_engine(Bounds(embed_jobs=1, embed_texts=2))
    for texts in ((), ("a", "b", "c")):
        with pytest.raises(Invalid):
            engine.embed(EmbedJob(job_id="e", texts=texts, kind="query"))
    engine.embed(EmbedJob(job_id="e", texts=("a",), kind="query"))
    with pytest.raises(Overloaded):
        engine.embed(EmbedJob(job_id="f", texts=("a",), kind="query"))


def test_a_waiting_request_can_be_cancelled_and_overdue() -> None:
    sampling = Sampling(max_tokens=400)
    running = [ask(f"r{n}", "#tokens=8 x", sampling) for n in range(2)]  # together fill the cache

    def cancel(engine: Engine, run: Run) -> None:
        engine.cancel("waiting")

    run = run_jobs(
        FakeBackend(SMALL),
        *running,
        ask("waiting", "y", sampling),
        ask("overdue", "z", deadline_at_s=-1.0),
        on_step=cancel,
    )
    assert (run.stopped("waiting").reason, run.stopped("waiting").text) == ("cancelled", "")
    assert run.stopped("overdue").reason == "deadline"
    assert run.finished("r1").completion_tokens == 8


def test_an_unknown_request_can_be_cancelled_without_harm() -> None:
    def cancel(engine: Engine, run: Run) -> None:
        engine.cancel("nobody")

    assert run_jobs(FakeBackend(SMALL), ask("a", "one"), on_step=cancel).finished("a")


def test_a_request_submitted_twice_runs_once() -> None:
    run = run_jobs(FakeBackend(SMALL), ask("a", "one"), ask("a", "one"), expect=1)
    assert run.finished("a").text == "You said: one"


def fill_the_cache(backend: FakeBackend) -> None:
    """Two answers in the first two slots which together need every cell."""
    names = ("x", "y")
    run = run_jobs(backend, *(ask(one, "#tokens=400", Sampling(max_tokens=400)) for one in names))
    assert [run.finished(one).finish_reason for one in names] == ["length", "length"]


def test_ended_answers_leave_the_cache_empty() -> None:
    backend = FakeBackend(SMALL)
    run_jobs(backend, *(ask(f"r{n}", "hello") for n in range(SMALL.slots)))
    fill_the_cache(backend)


def test_a_stopped_engine_ends_in_the_middle_of_an_answer_and_empties_the_cache() -> None:
    backend = FakeBackend(SMALL)

    def stop(engine: Engine, run: Run) -> None:
        if any(isinstance(one, Finished) for one in run.all()):
            engine.stop()

    long = ask("long", "#tokens=300", Sampling(max_tokens=100))
    run = run_jobs(backend, ask("a", "b"), ask("c", "d"), long, expect=2, on_step=stop)
    assert 0 < len(run.pieces("long")) < 100
    fill_the_cache(backend)


def test_the_status_tells_what_was_done() -> None:
    seen = []

    def look(engine: Engine, run: Run) -> None:
        seen.append(engine.status)

    run_jobs(FakeBackend(SMALL), ask("a", "one two three", GREEDY), on_step=look)
    assert seen[0].busy == 1
    assert seen[-1].busy == seen[-1].waiting == 0
    assert seen[-1].steps > seen[0].steps
    assert seen[-1].tokens_per_s > 0
    assert seen[-1].last_step_at_s >= seen[0].last_step_at_s


class Stuck(FakeBackend):
    """Its first step does not return until it is let go."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        self.entered = threading.Event()
        self.released = threading.Event()

    def decode(self, chunks: list[Chunk]) -> Outcome:
        self.entered.set()
        assert self.released.wait(DEADLINE_S)
        return super().decode(chunks)


def test_an_engine_that_is_stuck_in_its_first_step_shows_work_and_no_progress() -> None:
    backend = Stuck()
    clock = iter(range(10_000))
    engine = Engine(
        backend, emit=lambda outputs: None, on_fatal=print, clock=lambda: float(next(clock))
    )
    assert not engine.status.has_work
    engine.submit(ask("a", "one"))
    engine.start()
    assert backend.entered.wait(DEADLINE_S)
    stuck = engine.status
    assert stuck.has_work
    assert stuck.steps == 0
    backend.released.set()
    engine.stop()
    assert engine.join(DEADLINE_S)
    assert engine.status.last_step_at_s > stuck.last_step_at_s


def test_the_backend_computes_with_the_threads_it_is_given() -> None:
    backend = FakeBackend(SMALL)
    engine = Engine(backend, emit=lambda outputs: None, on_fatal=print)
    engine.use_threads(3)
    engine.embed(EmbedJob(job_id="e", texts=("one",), kind="query"))
    engine.start()
    engine.stop()
    assert engine.join(DEADLINE_S)
    assert backend.threads == 3


def _idle_engine(bounds: Bounds) -> Engine:
    """An engine that was never started."""

    def emit(outputs: list[Output]) -> None:
        raise AssertionError(outputs)

    def on_fatal(error: Exception) -> None:
        raise error

    return Engine(FakeBackend(SMALL), emit=emit, on_fatal=on_fatal, bounds=bounds)
