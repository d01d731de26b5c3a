"""What only real models can show: sampling options, and the tokens of texts."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from worker_bench import SMALL, ask, model_path, run_jobs

from appliance.errors import CannotBoot
from appliance.schema.sampling import Sampling
from appliance.worker import llama
from appliance.worker.backend import Backend, Chunk, Outcome
from appliance.worker.gpu_alarms import Seen
from appliance.worker.llama_library import Library
from appliance.worker.llama_model import Model
from appliance.worker.offload import CPU_ONLY, FITTED, Device, Offload, Share

pytestmark = pytest.mark.model

REPEATING = "Repeat this word many times: tick tick tick tick tick tick tick tick tick tick"


def test_penalties_keep_an_answer_from_repeating_itself(qwen: Backend) -> None:
    def ticks(sampling: Sampling) -> int:
        return run_jobs(qwen, ask("a", REPEATING, sampling)).finished("a").text.count("tick")

    free = ticks(Sampling(temperature=0, max_tokens=16))
    assert free > ticks(Sampling(temperature=0, max_tokens=16, frequency_penalty=2.0))
    assert free > ticks(Sampling(temperature=0, max_tokens=16, repeat_penalty=2.0))


def test_tokens_make_their_text_again(qwen: Backend, gemma: Backend) -> None:
    for text in ("plain", " leading space", "多字节 👩‍👩‍👧 é\n\n", "a\0b", "<|im_end|><eos>", ""):
        for backend in (qwen, gemma):
            tokens = backend.tokenize(text, special=False)
            assert b"".join(map(backend.piece, tokens)).decode() == text


def test_a_batch_the_library_cannot_take_is_refused_not_run(qwen: Backend) -> None:
    [token] = qwen.tokenize("a", special=False)
    too_many = [token] * (qwen.shape.step_tokens + 1)
    assert qwen.decode([Chunk(0, too_many, 0, 1)]) is Outcome.REFUSED
    assert qwen.decode([Chunk(0, [2**30], 0, 1)]) is Outcome.REFUSED
    assert qwen.decode([]) is Outcome.REFUSED
    qwen.truncate(0, 0)


def test_a_cache_that_is_full_says_so_and_keeps_what_it_holds(gemma: Backend) -> None:
    tokens = gemma.tokenize("word " * gemma.shape.step_tokens, special=False)
    step = tokens[: gemma.shape.step_tokens]
    position = 0
    while (outcome := gemma.decode([Chunk(0, step, position, 0)])) is Outcome.DONE:
        position += len(step)
    assert outcome is Outcome.NO_ROOM
    assert position == gemma.shape.cache_tokens
    gemma.truncate(0, 0)
    assert run_jobs(gemma, ask("a", "Hello")).finished("a").text


def test_a_gpu_without_enough_memory_is_left_for_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class TooLarge(Model):
        """Fits on the CPU only."""

        def __init__(
            self,
            library: Library,
            path: Path,
            *,
            shares: Sequence[Share] = (),
            on_progress: Callable[[float], None] = lambda fraction: None,
        ) -> None:
            if shares:
                raise CannotBoot("out of memory")
            super().__init__(library, path, on_progress=on_progress)

    monkeypatch.setattr(llama, "Model", TooLarge)
    gpu = Device(
        name="GPU0", description="", kind="gpu", backend="x", free_bytes=10**9, total_bytes=10**9
    )
    attempts = [Offload(shares=(Share("GPU0", layers),)) for layers in (19, 9)]
    options = llama.LlamaOptions(
        chat_model=model_path("gemma-3-270m*.gguf"),
        embedding_model=None,
        threads=1,
        layers=19,
        attempts=[*attempts, CPU_ONLY],
        seen=Seen(asked=FITTED, gpus=[gpu], planned=attempts[0]),
    )
    backend = llama.LlamaBackend(options, SMALL, on_progress=lambda fraction: None)
    assert "19 layers do not load on the GPU: out of memory" in caplog.text
    assert "9 layers do not load on the GPU: out of memory" in caplog.text
    assert backend.facts.device.startswith("CPU: ")
    assert [alarm.code for alarm in backend.facts.alarms] == ["gpu_not_used"]
    assert "out of memory" in backend.facts.alarms[0].message
    backend.shut_down()
