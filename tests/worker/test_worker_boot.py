"""Starting a worker: what is wrong with a model is said in words before anything crashes."""

import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_bench import SMALL, model_path

from appliance.errors import EXIT_CANNOT_BOOT, CannotBoot, Invalid
from appliance.schema.requests import ChatMessage
from appliance.schema.sampling import Sampling
from appliance.worker.boot import (
    BackendSettings,
    build_backend,
    build_engine,
)
from appliance.worker.config import WorkerConfig
from appliance.worker.jobs import Generation
from appliance.worker.memory import cache_bytes, check_memory
from models.precheck import Header, precheck

CONFIG = WorkerConfig(
    name="w",
    redis_url="",
    pool="default",
    engine="fake",
    model_name="",
    chat_model="",
    embedding_model="",
    slots=2,
    warm_sequences=6,
    warm_tokens=512,
    gap_ms=500,
    kept_pace=0.9,
    draft_tokens=4,
    context_tokens=512,
    cache_tokens=1024,
    step_tokens=64,
    threads=1,
    gpu_layers=-1,
    heartbeat_s=1.0,
    lost_after_s=10.0,
    lease_s=10.0,
    wedged_after_s=120.0,
    probe_idle_s=60.0,
    attempts=2,
    reply_ttl_s=60,
    drain_timeout_s=1.0,
    log_level="info",
)


def gguf(**metadata: str | int) -> bytes:
    """A GGUF file of metadata alone."""
    pairs = b""
    for key, value in metadata.items():
        name = key.replace("__", ".").encode()
        pairs += struct.pack("<Q", len(name)) + name
        if isinstance(value, str):
            pairs += struct.pack("<IQ", 8, len(value)) + value.encode()
        else:
            pairs += struct.pack("<II", 4, value)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata)) + pairs


QWEN = gguf(
    general__architecture="qwen2",
    qwen2__block_count=24,
    qwen2__embedding_length=896,
    qwen2__attention__head_count=14,
    qwen2__attention__head_count_kv=2,
)


def header_of(content: bytes, folder: Path) -> Header:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return precheck(path)


@pytest.mark.unit
def test_a_header_tells_what_the_model_needs(tmp_path: Path) -> None:
    header = header_of(QWEN, tmp_path)
    assert header.number("block_count") == 24
    # 24 layers x 2 heads x (64 + 64) numbers x 2 bytes
    assert cache_bytes(header, 1) == 24 * 2 * 128 * 2


@pytest.mark.unit
@given(st.integers(0, len(QWEN) - 1), st.binary(min_size=1, max_size=9))
def test_a_damaged_header_is_refused_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, at: int, damage: bytes
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    try:
        header = header_of(QWEN[:at] + damage + QWEN[at + len(damage) :], folder)
    except Invalid:
        return
    assert header.tensor_count >= 0


@pytest.mark.unit
@given(st.integers(0, len(QWEN) - 1))
def test_a_header_that_is_cut_off_is_refused(
    tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    with pytest.raises(Invalid):
        header_of(QWEN[:size], tmp_path_factory.mktemp("cut"))


@pytest.mark.unit
def test_weights_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(gguf(general__architecture="bert"))
    link = tmp_path / "model.gguf"
    link.symlink_to(tmp_path / "blob")
    with pytest.raises(CannotBoot, match="embedding model"):
        build_backend(BackendSettings(engine="llama", chat_model=link))


@pytest.mark.unit
def test_memory_that_is_not_there_is_said_in_gigabytes() -> None:
    header = Header(
        "x",
        1,
        {
            "x.block_count": 10,
            "x.embedding_length": 1000,
            "x.attention.head_count": 10,
        },
        size_bytes=4_000_000_000,
    )
    check_memory(header, None, cache_tokens=10_000, available_bytes=4_700_000_000)
    with pytest.raises(CannotBoot, match=r"needs about 4\.7 GB .* 4\.0 GB are free"):
        check_memory(header, None, cache_tokens=10_000, available_bytes=4_000_000_000)
    with pytest.raises(CannotBoot):
        check_memory(header, header, cache_tokens=10_000, available_bytes=4_700_000_000)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no model at"),
        (b"", "GGUF mark"),
        (b"<html>404 Not Found</html>" * 10, "GGUF mark"),
        (QWEN[:60], "not a sound GGUF"),
        (gguf(general__architecture="bert"), "embedding model"),
    ],
)
def test_a_file_that_is_no_chat_model_cannot_boot(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CannotBoot, match=said) as caught:
        build_backend(BackendSettings(engine="llama", chat_model=path))
    assert caught.value.hint
    assert caught.value.exit_status == EXIT_CANNOT_BOOT


@pytest.mark.unit
def test_sizes_that_contradict_each_other_cannot_boot() -> None:
    config = msgspec.structs.replace(CONFIG, slots=65)
    with pytest.raises(CannotBoot, match="slots"):
        build_engine(config, emit=print, on_fatal=print, progress=print)


@pytest.mark.unit
def test_the_fake_engine_boots_without_models() -> None:
    engine = build_engine(CONFIG, emit=print, on_fatal=print, progress=print)
    assert engine.facts.engine == "fake"


@pytest.mark.model
def test_weights_that_are_cut_off_cannot_boot(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with model_path("gemma-3-270m*.gguf").open("rb") as whole:
        path.write_bytes(whole.read(20_000_000))
    with pytest.raises(CannotBoot, match="tensors need"):
        build_backend(BackendSettings(engine="llama", chat_model=path, shape=SMALL, threads=1))


QUIET = """
import logging, sys
from pathlib import Path
from appliance.worker.boot import BackendSettings, build_backend
from worker_bench import SMALL, ask, run_jobs
logging.getLogger().addHandler(logging.NullHandler())
backend = build_backend(
    BackendSettings(engine="llama", chat_model=Path(sys.argv[1]), shape=SMALL, threads=1)
)
run_jobs(backend, ask("a", "Hello"))
backend.shut_down()
"""


@pytest.mark.model
def test_the_native_library_prints_nothing() -> None:
    model = model_path("gemma-3-270m*.gguf")
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(model)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.model
def test_loading_tells_how_far_it_is() -> None:
    told: dict[str, int] = {}
    config = msgspec.structs.replace(
        CONFIG, engine="llama", chat_model=str(model_path("gemma-3-270m*.gguf"))
    )
    engine = build_engine(config, emit=print, on_fatal=print, progress=told.__setitem__)
    assert engine.facts.model == "Gemma 3 270m"
    assert list(told)[-1] == "loading the model: 100 %"
    assert len(told) <= 11
    assert list(told.values()) == sorted(told.values())


def test_a_worker_takes_more_than_its_slots_however_many_those_are() -> None:
    """What was taken away from it is open until the next step, and its place is given again."""
    shape = {"slots": 256, "warm_sequences": 0, "cache_tokens": 4096, "step_tokens": 256}
    config = msgspec.structs.replace(CONFIG, **shape)
    engine = build_engine(
        config,
        emit=lambda outputs: None,
        on_fatal=lambda error: None,
        progress=lambda text, percent: None,
    )
    said = (ChatMessage(role="user", content="Hello"),)
    for number in range(300):
        engine.submit(Generation(request_id=f"r{number}", messages=said, sampling=Sampling()))
