"""A long conversation computes only what is new: after eviction, restarts and kills too."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
import pytest
from conftest import ONE_THREAD, Running, Start, eventually

WEIGHTS = platformdirs.user_cache_path("sluice") / "models"
FAKE = ("--engine", "fake")
TURNS = 20
BEGINNING = (
    "I am new here and moved to the town last month with my family. We would like to use the "
    "library, borrow films and games, and come to the reading afternoons for children. Please "
    "tell me what we need for that, who may sign for the children, and what it costs in a year. "
    "Tell me also how the cards work, what happens when one is lost, and until when we can come. "
    "My mother, who is eighty, lives with us and reads large print only; she would like to have "
    "books brought to the house, as the library of her old town did every second Monday. My "
    "sister teaches at the school by the river and wants to bring her class of twelve pupils on "
    "a Thursday in March, from nine in the morning until noon, with a break of twenty minutes. "
    "They come by bus, two of them in wheelchairs, and would like to see the archive as well. "
    "Last, we found a box of letters from 1912 in the attic, written by the miller to his brother "
    "in Hamburg, and ask ourselves whether the archive would take them, whether they may be read "
    "by everybody, and how we should keep them until then, for the roof is not quite dry. Thank "
    "you for your patience with so many questions at once; one answer after the other will do."
)
QUESTIONS = ("And on Sundays?", "Who can tell me?", "Is that free?", "What about games?")


@dataclass
class Conversation:
    """One session, and what each of its prompts cost."""

    running: Running
    answer_tokens: int
    session: str = ""
    shares: list[float] = field(default_factory=list)

    def begin(self) -> None:
        self.session = self.running.session()

    def ask(self) -> float:
        """The next turn. Returns which share of its prompt was cached."""
        number = len(self.shares)
        text = QUESTIONS[number % len(QUESTIONS)] if number else BEGINNING
        request = self.running.ask(
            text, self.session, max_tokens=self.answer_tokens, temperature=0, faq=False
        )
        end = list(self.running.follow(request))[-1]
        assert end.event == "done", end
        usage = end.data["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        self.shares.append(cached / usage["prompt_tokens"])
        return self.shares[-1]

    def go_on(self, until: int) -> None:
        while len(self.shares) < until:
            share = self.ask()
            turn = len(self.shares)
            assert turn == 1 or share >= 0.9, f"turn {turn}: {share:.0%} was cached"


def snapshot_of(running: Running) -> bytes:
    """What is on disk of the only session that is worth it."""
    found = list((running.data / "snapshots").glob("*.kv"))
    return found[0].read_bytes() if len(found) == 1 else b""


def saved_after(running: Running, act: Callable[[], object]) -> None:
    """Does something, and waits until the idle engine has saved what it made of the session."""
    before = snapshot_of(running)
    act()
    eventually(lambda: snapshot_of(running) not in (before, b""), "the session is saved")


def is_back(running: Running, pid: int) -> bool:
    with running.client() as client:
        answer = client.get("/api/status")
    if answer.status_code != 200:
        return False
    status = answer.json()
    (child,) = [child for child in status["children"] if child["name"] == "worker-0"]
    return bool(child["state"] == "ready" and child["pid"] != pid and status["ready"])


def is_warm(running: Running, session: str) -> bool:
    with running.client() as client:
        items = client.get("/api/sessions").json()["items"]
    return bool(next(item["warm"] for item in items if item["id"] == session))


def through_restarts(launch: Start, data: Path, *arguments: str, answer_tokens: int) -> list[float]:
    """Twenty turns with a stop, a killed worker and a killed appliance between them."""
    running = launch(data, *arguments)
    talk = Conversation(running, answer_tokens)
    talk.begin()
    talk.go_on(6)
    assert running.stop() == 0
    talk.running = running = launch(data, *arguments)
    saved_after(running, lambda: talk.go_on(11))
    pid = int(running.child("worker-0")["pid"])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_back(running, pid), "another worker is ready")
    saved_after(running, lambda: talk.go_on(16))
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    talk.running = launch(data, *arguments)
    talk.go_on(TURNS)
    return talk.shares


@pytest.mark.integration
def test_twenty_turns_with_a_stop_and_two_kills_compute_only_what_is_new(
    launch: Start, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    through_restarts(launch, tmp_path, *FAKE, answer_tokens=100)


@pytest.mark.integration
def test_conversations_that_a_small_cache_cannot_hold_come_back(
    launch: Start, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    sizes = "[worker]\ncontext_tokens = 1024\ncache_tokens = 1100\nstep_tokens = 128\n"
    (tmp_path / "settings.toml").write_text(sizes, encoding="utf-8")
    running = launch(tmp_path, *FAKE)
    talks = [Conversation(running, answer_tokens=60) for _ in range(4)]
    for talk in talks:
        talk.begin()
    for turn in range(1, 8):
        for talk in talks:
            talk.go_on(turn)


@pytest.mark.integration
def test_an_opened_session_becomes_warm_and_a_deleted_one_leaves_nothing(
    launch: Start, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    running = launch(tmp_path, *FAKE)
    talk = Conversation(running, answer_tokens=60)
    talk.begin()
    saved_after(running, lambda: talk.go_on(3))
    assert is_warm(running, talk.session)
    pid = int(running.child("worker-0")["pid"])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_back(running, pid), "another worker is ready")
    eventually(lambda: not is_warm(running, talk.session), "the new worker is cold")
    with running.client() as client:
        assert client.post(f"/api/sessions/{talk.session}/warm").status_code == 202
        eventually(lambda: is_warm(running, talk.session), "the session is warm")
        client.delete(f"/api/sessions/{talk.session}")
        assert client.post(f"/api/sessions/{talk.session}/warm").status_code == 404
    eventually(
        lambda: talk.session not in str(running.status()["workers"]), "the workers forgot it"
    )
    assert running.stop() == 0
    assert list((tmp_path / "snapshots").iterdir()) == []


@pytest.mark.integration
def test_a_session_deleted_while_no_worker_hears_it_is_erased(
    launch: Start, tmp_path: Path
) -> None:
    """A file that came back, as from a backup, goes when the next worker starts."""
    tmp_path.chmod(0o700)
    running = launch(tmp_path, *FAKE)
    talk = Conversation(running, answer_tokens=60)
    talk.begin()
    saved_after(running, lambda: talk.go_on(2))
    [path] = (tmp_path / "snapshots").glob("*.kv")
    kept = path.read_bytes()
    with running.client() as client:
        client.delete(f"/api/sessions/{talk.session}")
    assert not path.exists()
    assert running.stop() == 0
    path.write_bytes(kept)
    launch(tmp_path, *FAKE)
    eventually(lambda: not path.exists(), "the snapshot is erased")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A data directory whose models are the tests' own."""
    tmp_path.chmod(0o700)
    settings = f"[models]\ndirectory = {json.dumps(str(WEIGHTS))}\n{ONE_THREAD}"
    (tmp_path / "settings.toml").write_text(settings, encoding="utf-8")
    assert WEIGHTS.is_dir(), "the tests' weights are missing: run `make models`"
    return tmp_path


@pytest.mark.model
def test_twenty_turns_with_the_starter_model_compute_only_what_is_new(
    launch: Start, weights: Path
) -> None:
    through_restarts(launch, weights, answer_tokens=48)
