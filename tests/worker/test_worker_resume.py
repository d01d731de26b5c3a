"""An answer that goes on from the tokens of a lost worker is the one that worker was making.

Every place where a worker may die is tried: after each piece of text that it had written.
"""

import pytest
from near_ties import assert_equal_up_to_a_tie
from worker_bench import Kind, Run, ask, run_jobs

from appliance.schema.sampling import Sampling
from appliance.worker.backend import Backend
from appliance.worker.jobs import Piece

QUESTIONS = (
    "Count upwards, one number per line: 1 2 3 4 5 6 7 8 9 10 11 12",
    "请重复这句话：密码重置需要在设置页面完成，请联系管理员。😀",
    "#tokens=24 tell me about the canteen",
)
STOPS = ((), ("teen #",), ("9", "10"), ("页面完",))


def resumed(kind: Kind, text: str, sampling: Sampling, given: list[Piece]) -> Run:
    """What readers see in all when another worker goes on after these pieces."""
    tokens = tuple(token for piece in given for token in piece.tokens)
    shown = "".join(piece.text for piece in given)
    run = run_jobs(kind.backend, ask("a", text, sampling, resume_text=shown, resume_tokens=tokens))
    end = run.finished("a")
    assert end.text == shown + "".join(run.pieces("a"))
    assert end.resumed_tokens == len(tokens)
    return Run(emitted=[[*given], *run.emitted])


@pytest.mark.unit
@pytest.mark.parametrize("text", QUESTIONS)
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("max_tokens", [7, 64])
def test_wherever_a_worker_dies_the_fake_answer_goes_on_to_the_byte(
    fake: Kind, text: str, stop: tuple[str, ...], max_tokens: int
) -> None:
    sampling = Sampling(temperature=0, stop=stop, max_tokens=max_tokens)
    undisturbed = run_jobs(fake.backend, ask("a", text, sampling))
    whole = undisturbed.finished("a")
    pieces = [one for one in undisturbed.all() if isinstance(one, Piece)]
    for count in range(1, len(pieces) + 1):
        end = resumed(fake, text, sampling, pieces[:count]).finished("a")
        assert (end.text, end.finish_reason) == (whole.text, whole.finish_reason), count
        assert end.completion_tokens == whole.completion_tokens, count


@pytest.mark.model
@pytest.mark.parametrize("text", QUESTIONS[:2])
def test_a_real_answer_goes_on_with_the_same_tokens_up_to_near_ties(
    qwen: Backend, text: str
) -> None:
    kind = Kind("qwen", qwen, "")
    sampling = Sampling(temperature=0, max_tokens=32)
    undisturbed = run_jobs(qwen, ask("a", text, sampling))
    pieces = [one for one in undisturbed.all() if isinstance(one, Piece)]
    for count in range(1, len(pieces), 5):
        again = resumed(kind, text, sampling, pieces[:count])
        assert_equal_up_to_a_tie(kind, ask("a", text, sampling), undisturbed, again)
