"""Conversations come back from disk after eviction and restarts, to their owner only.

Each run is a new engine on an empty cache, as after a restart; only the directory remains.
"""

from pathlib import Path

import numpy as np
import pytest
from worker_bench import GREEDY, Kind, Run, Watched, run_jobs

from appliance.schema.requests import ChatMessage
from appliance.worker import keeper
from appliance.worker.archive import Archive, Found
from appliance.worker.backend import Backend, Shape
from appliance.worker.engine import Bounds, Engine
from appliance.worker.fake import FakeBackend
from appliance.worker.jobs import Finished, Generation
from appliance.worker.keeper import Keeper
from appliance.worker.schedule import Scheduler
from appliance.worker.snapshot_format import Snapshot
from appliance.worker.snapshots import Snapshots

SYSTEM = "You are the assistant of this house. Be brief and friendly, and quote what you know."
QUESTION = (
    "Tell me about the opening hours of the library, the archive and the reading room, please. "
    "I would like to come with a class of twelve pupils, two teachers and a dog, by bus or by "
    "train, on the second Thursday of next month, and stay from nine in the morning until noon, "
    "with a break of twenty minutes for breakfast in the garden."
)
NEXT = "And on Sundays?"
LARGE = 100_000_000


def archive(directory: Path, backend: Backend, *, stamp: str = "") -> Archive:
    stamp = stamp or backend.facts.cache_stamp
    return Archive(directory, bound_bytes=LARGE, stamp=stamp, memory_bytes=LARGE)


def turn(
    request_id: str, *texts: str, uid: str = "ann", session: str = "s1", prefill_only: bool = False
) -> Generation:
    """A request whose messages are a system prompt, then person and assistant in turns."""
    system = ChatMessage(role="system", content=SYSTEM, public_chars=len(SYSTEM))
    messages = [system]
    for number, text in enumerate(texts):
        messages.append(ChatMessage(role="assistant" if number % 2 else "user", content=text))
    return Generation(
        request_id=request_id,
        messages=tuple(messages),
        sampling=GREEDY,
        scope=uid,
        session_id=session,
        prefill_only=prefill_only,
    )


def first_turn(backend: Backend, directory: Path) -> str:
    """Answers the first question; the engine's end saves the conversation."""
    run = run_jobs(backend, turn("a", QUESTION), archive=archive(directory, backend))
    answer = run.finished("a").text
    assert len(list(directory.iterdir())) == 1
    return answer


def second_turn(backend: Backend, directory: Path, answer: str, *, uid: str = "ann") -> Finished:
    request = turn("b", QUESTION, answer, NEXT, uid=uid)
    return run_jobs(backend, request, archive=archive(directory, backend)).finished("b")


def test_a_conversation_goes_on_after_a_restart_with_only_the_new_tokens(
    kind: Kind, tmp_path: Path
) -> None:
    answer = first_turn(kind.backend, tmp_path)
    request = turn("b", QUESTION, answer, NEXT)
    undisturbed = run_jobs(kind.backend, turn("a", QUESTION), request, expect=2)
    watched = Watched(kind.backend)
    no_guesses = Bounds(drafts_per_request=0)  # they would be computed too
    run = run_jobs(watched, request, bounds=no_guesses, archive=archive(tmp_path, kind.backend))
    end = run.finished("b")
    new = end.prompt_tokens - end.cached_tokens
    prefilled = sum(len(chunk.tokens) for step in watched.steps for chunk in step)
    assert new + end.completion_tokens - 1 <= prefilled <= new + end.completion_tokens
    assert new <= 30, "only the question is new"
    if kind.name != "gemma":  # nearly tied tokens may fall either way in other batches
        assert end.text == undisturbed.finished("b").text


@pytest.mark.unit
def test_nobody_gets_the_snapshot_of_somebody_else(tmp_path: Path) -> None:
    backend = FakeBackend()
    answer = first_turn(backend, tmp_path)
    assert second_turn(backend, tmp_path, answer, uid="bob").cached_tokens == 0
    assert second_turn(backend, tmp_path, answer, uid="ann").cached_tokens > 64


@pytest.mark.unit
def test_another_build_computes_anew(tmp_path: Path) -> None:
    backend = FakeBackend()
    answer = first_turn(backend, tmp_path)
    other = archive(tmp_path, backend, stamp="another build")
    run = run_jobs(backend, turn("b", QUESTION, answer, NEXT), archive=other)
    assert run.finished("b").cached_tokens == 0


@pytest.mark.unit
def test_other_text_is_used_as_far_as_it_is_the_same(tmp_path: Path) -> None:
    backend = FakeBackend()
    first_turn(backend, tmp_path)
    end = second_turn(backend, tmp_path, "an answer that was never given")
    whole = second_turn(backend, tmp_path, "an answer that was never given")
    assert 0 < end.cached_tokens < end.prompt_tokens - 5
    assert whole.text == end.text


@pytest.mark.unit
def test_a_damaged_snapshot_costs_a_prefill_and_changes_no_answer(tmp_path: Path) -> None:
    backend = FakeBackend()
    answer = first_turn(backend, tmp_path)
    expected = second_turn(backend, tmp_path, answer).text
    [path] = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    end = second_turn(backend, tmp_path, answer)
    assert end.cached_tokens == 0
    assert end.text == expected


@pytest.mark.unit
@pytest.mark.parametrize("named", [True, False], ids=["sessions", "nameless"])
def test_what_leaves_a_full_cache_comes_back(named: bool, tmp_path: Path) -> None:
    """Six conversations take turns in a cache that holds two."""
    shape = Shape(slots=2, warm_sequences=4, context_tokens=512, cache_tokens=640, step_tokens=64)
    backend = FakeBackend(shape)
    history = {f"s{n}": [f"{QUESTION} Number {n}."] for n in range(6)}
    ends: list[Finished] = []

    def go_on(engine: Engine, run: Run) -> None:
        ended = [one for one in run.all() if isinstance(one, Finished)]
        if len(ended) == len(ends):
            return
        ends.append(ended[-1])
        session = ended[-1].request_id.partition("-")[0]
        history[session] += [ended[-1].text, NEXT]
        number = len(ends)
        if number < 18:
            following = f"s{number % 6}"
            name = following if named else ""
            engine.submit(turn(f"{following}-{number}", *history[following], session=name))

    run_jobs(
        backend,
        turn("s0-0", *history["s0"], session="s0" if named else ""),
        expect=18,
        on_step=go_on,
        archive=archive(tmp_path, backend),
    )
    assert len(ends) == 18
    for end in ends[6:]:
        new = end.prompt_tokens - end.cached_tokens
        assert new <= 30, f"{end.request_id}: {new} of {end.prompt_tokens} were computed again"
    assert bool(list(tmp_path.iterdir())) == named, "what has no session never gets to the disk"


@pytest.mark.unit
def test_a_forgotten_person_has_nothing_in_the_cache_nor_in_memory(tmp_path: Path) -> None:
    """Two conversations without a session, one in a cache that has room for one, one beside it."""
    shape = Shape(slots=1, warm_tokens=0, context_tokens=512, cache_tokens=640, step_tokens=64)
    asked = [turn("a", QUESTION, session=""), turn("b", f"Other. {QUESTION}", session="")]
    again = [turn("c", QUESTION, session=""), turn("d", f"Other. {QUESTION}", session="")]

    def cached(*, forgets: bool) -> list[int]:
        def go_on(engine: Engine, run: Run) -> None:
            ended = len([one for one in run.all() if isinstance(one, Finished)])
            if ended + len(again_left) == 4 and again_left:  # the one before has ended
                if forgets and ended == 2:
                    engine.forget_scope("ann")
                engine.submit(again_left.pop(0))

        again_left, backend = [*again], FakeBackend(shape)
        kept = archive(tmp_path, backend)
        run = run_jobs(backend, *asked, expect=4, on_step=go_on, archive=kept)
        return [run.finished(one.request_id).cached_tokens for one in again]

    public = cached(forgets=True)
    assert all(now > then + 64 for now, then in zip(cached(forgets=False), public, strict=True))


@pytest.mark.unit
def test_a_forgotten_session_is_neither_in_the_cache_nor_on_disk(tmp_path: Path) -> None:
    backend = FakeBackend()

    def forget(engine: Engine, run: Run) -> None:
        if run.all() and isinstance(run.all()[-1], Finished) and len(run.emitted) < 1000:
            engine.forget("s1")

    run = run_jobs(
        backend,
        turn("a", QUESTION),
        turn("c", f"{QUESTION} Something else.", session="s2"),
        on_step=forget,
        archive=archive(tmp_path, backend),
    )
    answer = run.finished("a").text
    left = Snapshots(tmp_path, bound_bytes=LARGE, stamp=backend.facts.cache_stamp)
    assert left.session_ids() == {"s2"}
    assert answer


@pytest.mark.unit
def test_a_session_deleted_while_it_is_answered_leaves_nothing(tmp_path: Path) -> None:
    backend = FakeBackend()

    def forget(engine: Engine, run: Run) -> None:
        if len(run.steps_with("a")) == 2:
            engine.forget("s1")

    run_jobs(backend, turn("a", QUESTION), on_step=forget, archive=archive(tmp_path, backend))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.unit
def test_a_short_text_and_a_text_of_no_session_are_not_worth_a_file(tmp_path: Path) -> None:
    backend = FakeBackend()
    run_jobs(
        backend,
        turn("a", "Hi"),
        turn("b", f"{QUESTION} {QUESTION}", session=""),
        archive=archive(tmp_path, backend),
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.unit
def test_what_was_found_leaves_memory_when_the_cache_has_more(tmp_path: Path) -> None:
    """Both are looked for at once; the second finds the first one's cells warm when it starts."""
    shape = Shape(slots=1, warm_sequences=2, context_tokens=512, cache_tokens=1024, step_tokens=64)
    backend = FakeBackend(shape)
    answer = first_turn(backend, tmp_path)
    asked = [turn(name, QUESTION, answer, NEXT) for name in "bc"]
    held: dict[str, int] = {}

    def look(engine: Engine, run: Run) -> None:
        for name in "bc":
            if run.pieces(name):
                held.setdefault(name, len(engine._keeper._found))

    run = run_jobs(backend, *asked, on_step=look, archive=archive(tmp_path, backend))
    assert run.finished("c").cached_tokens > 64
    assert held == {"b": 1, "c": 0}


@pytest.mark.unit
def test_what_waits_to_be_restored_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FakeBackend()
    made = Keeper(backend, Scheduler(backend.shape, can_share=True), archive(tmp_path, backend))
    cells = np.zeros(100, dtype=np.uint8)
    tokens = np.arange(9, dtype=np.int32)
    kept = Snapshot(session_id="s", scope="ann", public_tokens=0, tokens=tokens, cells=cells)
    monkeypatch.setattr(keeper, "FOUND_BYTES", 250)
    taken = [made.take(Found(request_id=f"r{n}", snapshot=kept, tokens=9)) for n in range(4)]
    assert taken == [9, 9, 0, 0]
    made.drop("r0")
    assert made.take(Found(request_id="r4", snapshot=kept, tokens=9)) == 9
    monkeypatch.setattr(keeper, "FOUND_BYTES", 50)
    assert made.take(Found(request_id="r5", snapshot=kept, tokens=9)) == 0
    made.drop("r1")
    made.drop("r4")
    assert made.take(Found(request_id="r6", snapshot=kept, tokens=9)) == 9, "one always has room"


def test_a_warmed_session_computes_only_the_question(kind: Kind, tmp_path: Path) -> None:
    answer = run_jobs(kind.backend, turn("a", QUESTION)).finished("a").text
    warming = turn("warm", QUESTION, answer, "?", prefill_only=True)
    watched = Watched(kind.backend)

    def ask_then(engine: Engine, run: Run) -> None:
        if len(run.all()) == 1:
            engine.submit(turn("b", QUESTION, answer, NEXT))

    run = run_jobs(watched, warming, expect=2, on_step=ask_then)
    assert run.finished("warm").text == ""
    end = run.finished("b")
    assert end.prompt_tokens - end.cached_tokens <= 25, "more than the question was computed"
    assert end.cached_tokens == run.finished("warm").prompt_tokens


@pytest.mark.unit
def test_a_warming_that_is_cancelled_keeps_what_it_got(tmp_path: Path) -> None:
    backend = FakeBackend()
    text = QUESTION * 2

    def come(engine: Engine, run: Run) -> None:
        if not run.all():
            return
        if len(run.emitted) == 1:
            engine.cancel("warm")
            engine.submit(turn("b", text, "Yes.", NEXT))

    other = turn("c", "Hello", session="s2")
    warming = turn("warm", text, "Yes.", "?", prefill_only=True)
    run = run_jobs(backend, other, warming, expect=3, on_step=come)
    assert run.stopped("warm").reason == "cancelled"
    assert 0 < run.finished("b").cached_tokens < run.finished("b").prompt_tokens - 40
