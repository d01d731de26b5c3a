"""The real starter weights: pinned, sound, and the converted embedding model equal to its source.

The reference was computed by the packed model's own engine, from the same matrices.
"""

import base64
import json
import subprocess
import sys
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
import pytest

from appliance.fleet.fitting import memory_of
from appliance.worker.memory import memory_bytes
from models.precheck import precheck
from models.store import Store

pytestmark = pytest.mark.model

HERE = Path(__file__).parent
WEIGHTS = platformdirs.user_cache_path("sluice") / "models"

Vector = npt.NDArray[np.float64]


def weights(role: str) -> Path:
    store = Store(WEIGHTS)
    entry = store.catalogue.require(role)
    if not store.path(entry.name).exists():
        pytest.skip(f"no {entry.name} in {WEIGHTS}")
    return store.starter(role)


@pytest.mark.parametrize("role", ["chat", "test-chat"])
def test_what_the_catalogue_says_of_memory_is_what_a_worker_will_need(role: str) -> None:
    """So a model's need is known before it is fetched."""
    path, entry = weights(role), Store(WEIGHTS).catalogue.require(role)
    assert memory_of(entry, cache_tokens=16_384) == memory_bytes(path, cache_tokens=16_384)


@pytest.mark.parametrize(
    ("role", "architecture", "tensors"),
    [("chat", "qwen2", 291), ("embedding", "bert", 197), ("test-chat", "gemma3", 236)],
)
def test_the_starters_are_what_the_catalogue_says(
    role: str, architecture: str, tensors: int
) -> None:
    path = weights(role)
    store = Store(WEIGHTS)
    entry = store.catalogue.require(role)
    header = precheck(path)
    assert (header.architecture, header.tensor_count) == (architecture, tensors)
    assert header.values[f"{architecture}.context_length"] == entry.context_tokens
    assert header.pools == (entry.kind == "embedding")
    assert store.verify(entry.name).size_bytes == entry.size_bytes


@cache
def embedded(*texts: str) -> tuple[list[int], Vector]:
    """Token counts, and one unit vector per text."""
    prepared = ["query: " + " ".join(unicodedata.normalize("NFKC", one).split()) for one in texts]
    done = subprocess.run(
        [sys.executable, str(HERE / "e5_in_llama.py"), str(weights("embedding"))],
        input=json.dumps(prepared),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    return [one["tokens"] for one in found], np.array([one["vector"] for one in found])


def test_the_converted_model_equals_its_source() -> None:
    reference = json.loads((HERE / "e5_reference.json").read_text(encoding="utf-8"))
    counts, vectors = embedded(*(one["text"] for one in reference))
    assert counts == [one["tokens"] for one in reference]
    for one, vector in zip(reference, vectors, strict=True):
        expected = np.frombuffer(base64.b64decode(one["vector"]), dtype="<f2").astype(float)
        cosine = float(vector @ expected / np.linalg.norm(expected))
        assert cosine > 0.9995, one["text"]


def test_each_question_is_nearest_to_its_translation() -> None:
    english = (
        "How do I reset my password?",
        "The refund takes 5-7 business days.",
        "When does the canteen open?",
    )
    chinese = ("我忘记密码了,怎么重置?", "退款需要五到七个工作日。", "食堂几点开门?")
    _, vectors = embedded(*english, *chinese)
    likeness = vectors[:3] @ vectors[3:].T
    assert likeness.argmax(axis=0).tolist() == [0, 1, 2]
    assert likeness.argmax(axis=1).tolist() == [0, 1, 2]
    assert min(likeness[0, 0], likeness[1, 1]) > 0.85
