"""The fake backend's own promises: what it says, how it is steered, and how it dies."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_bench import SMALL, ask, run_jobs

from appliance.schema.sampling import Sampling
from appliance.worker.backend import Shape
from appliance.worker.fake import EXIT_STATUS_DIE, FakeBackend

pytestmark = pytest.mark.unit

WIDE = Shape(slots=2, context_tokens=4096, cache_tokens=8192, step_tokens=256)
ENGLISH = (
    "Today is 2026-01-05.\nFAQ entries that may help:\n"
    "[1] Question: How do I reset my password?\nAnswer: Open Settings.\nThen press Reset.\n"
    "[2] Question: Where is the canteen?\nAnswer: On floor 3.\n"
    "My question: how to reset password"
)
CHINESE = (
    "今天是 2026-01-05。\n可能有用的常见问题：\n[1] 问：怎么重置密码？\n答：打开设置。\n"
    "我的问题：密码"
)


def answer(text: str, *, max_tokens: int = 512) -> str:
    sampling = Sampling(max_tokens=max_tokens)
    return run_jobs(FakeBackend(WIDE), ask("a", text, sampling)).finished("a").text


@given(st.text(max_size=50))
def test_tokens_make_their_text_again(text: str) -> None:
    backend = FakeBackend(SMALL)
    clean = text.encode(errors="replace").decode()
    tokens = backend.tokenize(clean, special=False)
    assert b"".join(map(backend.piece, tokens)) == clean.encode()


def test_chinese_characters_are_cut_between_tokens() -> None:
    backend = FakeBackend(SMALL)
    [first, *_] = backend.tokenize("你好", special=False)
    with pytest.raises(UnicodeDecodeError):
        backend.piece(first).decode()


def test_only_special_tokenising_makes_control_tokens() -> None:
    backend = FakeBackend(SMALL)
    assert len(backend.tokenize("<|im_start|>", special=True)) == 1
    assert len(backend.tokenize("<|im_start|>", special=False)) == 5


def test_it_quotes_the_first_faq_entry() -> None:
    assert answer(ENGLISH) == "Open Settings.\nThen press Reset."
    assert answer(CHINESE) == "打开设置。"


def test_without_entries_it_repeats_the_question() -> None:
    assert answer("Today is 2026-01-05.\nMy question: hello there") == "You said: hello there"
    assert answer("你好") == "你说：你好"


@pytest.mark.parametrize("text", ["#tokens=200 hello", "#tokens=200 你好啊", "#tokens=1 x"])
def test_an_answer_can_be_ordered_by_length(text: str) -> None:
    tokens = int(text.split("=")[1].split()[0])
    end = run_jobs(FakeBackend(WIDE), ask("a", text, Sampling())).finished("a")
    assert (end.completion_tokens, end.finish_reason) == (tokens, "stop")
    assert "\ufffd" not in end.text


@given(st.integers(0, 40))
def test_it_resumes_byte_for_byte_after_any_character(cut: int) -> None:
    text = "#tokens=24 mixed 中文 text"
    whole = answer(text)
    job = ask("a", text, Sampling(), resume_text=whole[:cut])
    assert run_jobs(FakeBackend(WIDE), job).finished("a").text == whole


DIE = """
from worker_bench import *
from appliance.worker.fake import FakeBackend
def show(engine, run):
    print("".join(run.pieces("a")), flush=True)
run_jobs(FakeBackend(SMALL), ask("a", "#die={} hello"), on_step=show)
"""


def test_a_poison_request_ends_the_process_after_the_tokens_it_names() -> None:
    def run(at: int) -> tuple[int, list[str]]:
        done = subprocess.run(
            [sys.executable, "-c", DIE.format(at)],
            capture_output=True,
            text=True,
            timeout=60,
            env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        )
        return done.returncode, done.stdout.split("\n")[:-1]

    assert run(0) == (EXIT_STATUS_DIE, [])
    status, shown = run(3)
    assert status == EXIT_STATUS_DIE
    assert shown[-1] == "You said"


def test_what_steps_share_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("appliance.worker.fake.time.sleep", slept.append)
    ours = [ask("a", "#tokens=9 #step=13 #slow=14"), ask("b", "#tokens=3 #step=5 #slow=14")]
    run_jobs(FakeBackend(SMALL), *ours)
    assert max(slept) == pytest.approx(0.041)
    assert slept[-1] == pytest.approx(0.027), "the other one has ended"


def test_a_slow_request_and_a_slow_backend_still_answer() -> None:
    slow = FakeBackend(SMALL, step_delay_s=0.001)
    assert run_jobs(slow, ask("a", "#slow=1 hi")).finished("a").text == "You said: hi"
