"""What workers are told at their start."""

from pathlib import Path

import msgspec
import pytest

from appliance import keys
from appliance.fleet.plan import Seat
from appliance.fleet.workers import Serving, worker_child, worker_config
from appliance.runtime import children
from appliance.settings import Settings
from appliance.settings.inference import Models, Worker
from appliance.worker.config import WorkerConfig
from appliance.worker.offload import Device

pytestmark = pytest.mark.unit

CARDS = tuple(
    Device(name=name, description="", kind="gpu", backend="CUDA", free_bytes=1, total_bytes=1)
    for name in ("CUDA0", "CUDA1")
)


def mark(data: Path, pool: str, number: int = 1) -> str:
    """Where a worker leaves word that it was aborted."""
    settings = Settings(worker=Worker(engine="fake"))
    serving = Serving(redis_url="", pool=pool, name="m", chat="")
    config = worker_config(settings, Seat(number=number, threads=1, embeds=False), serving)
    line = worker_child(settings, config, data, ()).boot_line
    return msgspec.json.decode(line, type=WorkerConfig).abort_file


def test_a_model_does_not_inherit_the_abort_of_another(tmp_path: Path) -> None:
    chat, big, odd = keys.MAIN, keys.pool("big"), keys.pool("a/b:c\n")
    assert len({mark(tmp_path, pool) for pool in (chat, big, odd)}) == 3
    assert len({mark(tmp_path, chat, number) for number in (0, 1)}) == 2
    assert mark(tmp_path, big) == mark(tmp_path, big), "its own it finds again"
    assert Path(mark(tmp_path, odd)).parent == tmp_path / "aborts"


def test_a_worker_started_by_hand_has_the_whole_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "gpus", lambda: CARDS)
    weights = tmp_path / "own.gguf"
    weights.touch()
    models = Models(chat=str(weights), embedding=str(weights))
    settings = Settings(worker=Worker(threads=6, count=0), models=models)
    pinned = children.worker_configs(settings, "")
    assert [(one.device, one.threads) for one in pinned] == [("CUDA0", 3), ("CUDA1", 3)]
    alone = children.lone_config(settings, "")
    assert (alone.device, alone.threads, bool(alone.embedding_model)) == ("", 6, True)
