"""LoRA adapters change what a model says by their scale, and a wrong one is told in words."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from worker_bench import SMALL, ask, model_path, run_jobs

from appliance.errors import CannotBoot
from appliance.schema.sampling import Adapter, Sampling
from appliance.worker.backend import Backend
from appliance.worker.boot import BackendSettings, build_backend

pytestmark = pytest.mark.model

WIDTH, QUERY_WIDTH, RANK = 640, 1024, 2  # of Gemma 3 270M: its rows, its query heads together


def write_adapter(
    path: Path, *, architecture: str = "gemma3", width: int = WIDTH, kind: str = "lora"
) -> Path:
    """A tiny adapter for the queries of the first layer, strong enough to change any answer."""
    dice = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 8.0)
    for layer in range(4):
        name = f"blk.{layer}.attn_q.weight"
        writer.add_tensor(f"{name}.lora_a", dice.normal(size=(RANK, width)).astype(np.float32))
        writer.add_tensor(
            f"{name}.lora_b", dice.normal(size=(QUERY_WIDTH, RANK)).astype(np.float32)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def load(*adapters: Adapter) -> Backend:
    return build_backend(
        BackendSettings(
            engine="llama",
            chat_model=model_path("gemma-3-270m*.gguf"),
            adapters=adapters,
            shape=SMALL,
            threads=1,
        )
    )


def says(backend: Backend) -> str:
    job = ask("a", "Count: one two three four", Sampling(temperature=0, max_tokens=8))
    return run_jobs(backend, job).finished("a").text


def test_an_adapter_acts_by_its_scale_and_marks_what_is_kept(
    gemma: Backend, tmp_path: Path
) -> None:
    plain = says(gemma)
    path = str(write_adapter(tmp_path / "small.gguf"))
    stamps = {gemma.facts.cache_stamp}
    for scale in (1.0, 0.0):
        backend = load(Adapter(path=path, scale=scale))
        try:
            assert (says(backend) == plain) == (scale == 0)
            stamps.add(backend.facts.cache_stamp)
            assert backend.facts.adapters == f"small.gguf x {scale:g}"
        finally:
            backend.shut_down()
    assert len(stamps) == 3, "cells made with other adapters would pass for these"


def test_what_is_no_adapter_for_this_model_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("no model")
    wrong = {
        "there is no adapter at": tmp_path / "nowhere.gguf",
        "not a": tmp_path / "text.gguf",
        "is a model, not an adapter": model_path("gemma-3-270m*.gguf"),
        "is made for qwen2 models": write_adapter(tmp_path / "q.gguf", architecture="qwen2"),
        "no LoRA": write_adapter(tmp_path / "k.gguf", kind="other"),
    }
    for words, path in wrong.items():
        with pytest.raises(CannotBoot) as refused:
            load(Adapter(path=str(path), scale=1.0))
        assert words in refused.value.message, refused.value.message
        assert refused.value.hint


def test_an_adapter_of_another_size_cannot_boot_with_the_librarys_words(tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "wide.gguf", width=2 * WIDTH)
    with pytest.raises(CannotBoot, match="incorrect shape"):
        load(Adapter(path=str(path), scale=1.0))
