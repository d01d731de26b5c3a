"""With the real models: the FAQ's facts reach the answer, and people are served side by side."""

import itertools
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import platformdirs
import pytest
from conftest import ONE_THREAD, Event, Running, eventually, start, text_of
from soak import much

pytestmark = pytest.mark.model

WEIGHTS = platformdirs.user_cache_path("sluice") / "models"
QUESTIONS = Path(__file__).parents[1] / "knowledge" / "demo_questions.json"
ASKED: tuple[str, ...] = ("password", "salary", "mailbox", "visitors")
ASKED += much((), ("badge", "shuttle", "error-e17", "emergency"))


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One appliance with the starter models and the demo FAQ."""
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o700)
    settings = f"[models]\ndirectory = {json.dumps(str(WEIGHTS))}\n{ONE_THREAD}"
    (data / "settings.toml").write_text(settings, encoding="utf-8")
    assert WEIGHTS.is_dir(), "the tests' weights are missing: run `make models`"
    running = start(data, "--demo-faq")
    eventually(
        lambda: is_calibrated(running.status()["faq"]), "scores mean something", within_s=240
    )
    yield running
    assert running.stop() == 0
    shutil.rmtree(data)
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def is_calibrated(faq: dict[str, Any]) -> bool:
    """Whether all is embedded and its own phrasings told what scores mean."""
    return bool(faq["indexed"] and (faq["calibration"] or {}).get("samples"))


def squeezed(text: str) -> str:
    """Without blanks and case, which a model may set as it likes."""
    return "".join(text.split()).lower()


@pytest.mark.soak
def test_answers_carry_the_facts_of_the_faq_in_both_languages(appliance: Running) -> None:
    questions = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    asked = [q for q in questions if q["entry_id"].split("-", 2)[2] in ASKED]
    assert {q["language"] for q in asked} == {"zh", "en"}
    found = 0
    for question in asked:
        events = list(appliance.follow(appliance.ask(question["question"], temperature=0)))
        assert events[-1].event == "done"
        (retrieved,) = [event.data for event in events if event.event == "retrieved"]
        assert retrieved["matches"][0]["id"] == question["entry_id"]
        found += squeezed(question["fact"]) in squeezed(text_of(events))
    assert found >= len(asked) - 1, "a small model may leave a fact out, but not twice"


def test_eight_people_are_answered_side_by_side(appliance: Running) -> None:
    texts = [f"Count from {n} to {n + 30}, one number per line." for n in range(8)]

    def ask(text: str) -> list[Event]:
        request_id = appliance.ask(text, faq=False, max_tokens=40)
        return list(appliance.follow(request_id))

    with ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(ask, texts))
    assert all(events[-1].event == "done" for events in heard)
    # Who began late and who ended early is the machine's affair, not that most ran together.
    moments = []
    for events in heard:
        ids = [event.id for event in events if event.event == "delta"]
        moments += [(stream_id(ids[0]), 1), (stream_id(ids[-1]), -1)]
    most = max(itertools.accumulate(step for _, step in sorted(moments)))
    assert most >= 4, "half of the answers and more were written at the same time"


def stream_id(text: str) -> tuple[int, int]:
    """A stream's entry id as numbers, in the order of writing within one stream."""
    time_ms, _, number = text.partition("-")
    return int(time_ms), int(number)


def test_a_second_turn_knows_the_first(appliance: Running) -> None:
    session = appliance.session()
    appliance.answer("My favourite colour is teal. Just say OK.", session, faq=False, temperature=0)
    answer = appliance.answer(
        "What is my favourite colour?", session, faq=False, temperature=0, max_tokens=30
    )
    assert "teal" in answer.lower()


def test_the_openai_client_talks_with_the_real_model(openai_client: openai.OpenAI) -> None:
    client = openai_client
    whole = client.chat.completions.create(
        model=client.models.list().data[0].id,
        messages=[{"role": "user", "content": "What is the capital of France? One word."}],
        temperature=0,
        max_tokens=10,
        extra_body={"faq": False},
    )
    assert "Paris" in (whole.choices[0].message.content or "")
    same = client.embeddings.create(
        model="sluice", input=["How do I reset my password?", "密码忘了怎么办？", "白菜多少钱？"]
    )
    rows = [item.embedding for item in same.data]
    near = sum(x * y for x, y in zip(rows[0], rows[1], strict=True))
    far = sum(x * y for x, y in zip(rows[0], rows[2], strict=True))
    assert near > far
