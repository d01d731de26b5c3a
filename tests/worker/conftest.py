"""Backends to test engines on: the fake, and the starter models, each loaded once."""

from collections.abc import Iterator

import pytest
from worker_bench import SMALL, Kind, model_path

from appliance.worker.backend import Backend
from appliance.worker.boot import BackendSettings, build_backend

THREADS = 1  # two that wait for each other on busy cores are ten times slower


def load(chat: str, embedding: str | None) -> Iterator[Backend]:
    backend = build_backend(
        BackendSettings(
            engine="llama",
            chat_model=model_path(chat),
            embedding_model=model_path(embedding) if embedding else None,
            shape=SMALL,
            threads=THREADS,
        )
    )
    yield backend
    backend.shut_down()


@pytest.fixture(scope="session")
def qwen() -> Iterator[Backend]:
    """Qwen 2.5 instruct with its own ChatML template, and the embedding model beside it."""
    yield from load("qwen2.5-coder-0.5b-instruct*.gguf", "multilingual-e5-small*.gguf")


@pytest.fixture(scope="session")
def gemma() -> Iterator[Backend]:
    """Gemma 3: sliding windows, no template, no instructions; without an embedding model."""
    yield from load("gemma-3-270m*.gguf", None)


@pytest.fixture
def fake() -> Kind:
    """The backend that ships."""
    return Kind("fake", build_backend(BackendSettings(engine="fake", shape=SMALL)), "<|im_end|>")


@pytest.fixture(
    params=[
        pytest.param("fake", marks=pytest.mark.unit),
        pytest.param("qwen", marks=pytest.mark.model),
        pytest.param("gemma", marks=pytest.mark.model),
    ]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each backend in turn."""
    name: str = request.param
    if name == "fake":
        return Kind(name, build_backend(BackendSettings(engine="fake", shape=SMALL)), "<|im_end|>")
    backend: Backend = request.getfixturevalue(name)
    return Kind(name, backend, {"qwen": "<|im_end|>", "gemma": "<end_of_turn>"}[name])


@pytest.fixture(
    params=[
        pytest.param("fake", marks=pytest.mark.unit),
        pytest.param("qwen", marks=pytest.mark.model),
    ]
)
def embedder(request: pytest.FixtureRequest) -> Backend:
    """Each backend with an embedding model."""
    if request.param == "fake":
        return build_backend(BackendSettings(engine="fake", shape=SMALL))
    backend: Backend = request.getfixturevalue("qwen")
    return backend
