"""What may be chosen as the chat model: what is here, what fits, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import pytest

from appliance.errors import Conflict, Invalid, NotFound
from appliance.fleet import offers as subject
from appliance.fleet.fitting import Capacity
from appliance.fleet.offers import Offers
from appliance.fleet.record import ChatPool
from appliance.fleet.shelf import Shelf
from appliance.schema.setup import SetupModel
from appliance.settings import Settings
from appliance.settings.inference import Models, Worker
from models.catalogue import shipped
from models.store import Store

pytestmark = pytest.mark.unit

Engine = Literal["llama", "fake"]

GB = 1_000_000_000
LAPTOP = Capacity(free_bytes=12 * GB, disk_free_bytes=200 * GB, read_rate=40 * GB, cores=8)
STARTER = shipped().roles.chat
CHAT = ChatPool(workers=("worker",), threads=2, memory_bytes=GB)


def write_model(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_tensor("weights", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With one model of the operator's own."""
    write_model(tmp_path / "own.gguf")
    made = Store(tmp_path / "store")
    made.import_file(tmp_path / "own.gguf")
    return made


def offered(store: Store, chat: str = "", *, engine: Engine = "llama") -> Offers:
    settings = Settings(
        worker=Worker(engine=engine, gpu_layers=0),
        models=Models(chat=chat, directory=str(store.directory)),
    )
    path = chat or str(store.directory / shipped().require(STARTER).file)
    return Offers(Shelf(settings, path), settings=settings, chat=CHAT)


def rows(offers: Offers, room: Capacity = LAPTOP) -> dict[str, SetupModel]:
    return {one.name: one for one in offers.models(room)}


def test_the_catalogue_and_the_operators_own_models_are_offered(store: Store) -> None:
    offers = offered(store)
    found = rows(offers, replace(LAPTOP, free_bytes=100 * GB))
    chat_models = {one.name for one in shipped().entry if one.kind == "chat"}
    assert found.keys() == (chat_models | {"own"}) - ({shipped().roles.test_chat} - {STARTER})
    assert [name for name, row in found.items() if row.chosen] == [STARTER] == [offers.chosen]
    assert found[STARTER].starter
    assert (found[STARTER].state, found["own"].state) == ("absent", "here")
    assert found["own"].memory_bytes > found["own"].size_bytes
    (recommended,) = [name for name, row in found.items() if row.recommended]
    assert recommended != "own", "of whose worth nothing is known"
    assert {row.obstacle for row in found.values()} == {""}


def test_a_small_machine_says_what_there_is_too_little_of(store: Store) -> None:
    big = shipped().require("qwen3-4b-q4_k_m")
    assert rows(offered(store), replace(LAPTOP, free_bytes=GB))[big.name].obstacle == "memory"
    assert rows(offered(store), replace(LAPTOP, disk_free_bytes=GB))[big.name].obstacle == "disk"


def test_weights_without_a_sound_header_are_told_as_damaged(store: Store, tmp_path: Path) -> None:
    path = store.path("own")
    path.write_bytes(bytes(path.stat().st_size))
    assert rows(offered(store))["own"].state == "damaged"


def test_a_model_from_elsewhere_stands_first_while_it_is_in_use(
    store: Store, tmp_path: Path
) -> None:
    write_model(tmp_path / "foreign.gguf")
    first, *others = offered(store, str(tmp_path / "foreign.gguf")).models(LAPTOP)
    assert (first.name, first.chosen, first.memory_bytes) == ("foreign", True, GB)
    assert not any(one.chosen for one in others)


def test_the_fake_engine_recommends_nothing_and_takes_any_fake_name(store: Store) -> None:
    offers = offered(store, "fake-mine", engine="fake")
    found = rows(offers)
    assert found["fake-mine"].chosen
    assert not any(row.recommended for row in found.values())
    offers.require("fake-other")
    with pytest.raises(Invalid):
        offers.require("Not a fake one")
    assert offers.setting(STARTER) == STARTER


def test_the_starter_is_no_word_in_the_settings(store: Store) -> None:
    assert offered(store).setting(STARTER) == ""
    assert offered(store).setting("own") == "own"


def test_only_what_is_here_whole_and_fits_can_be_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers = offered(store)
    with monkeypatch.context() as roomy:
        roomy.setattr(subject, "capacity", lambda *_, **__: LAPTOP)
        offers.require("own")
        with pytest.raises(NotFound):
            offers.require("nothing")
        with pytest.raises(NotFound):
            offers.require(shipped().roles.embedding)
        with pytest.raises(Conflict, match="are not here"):
            offers.require(STARTER)
    with monkeypatch.context() as crowded:
        crowded.setattr(subject, "capacity", lambda *_, **__: replace(LAPTOP, free_bytes=1000))
        with pytest.raises(Conflict, match=r"0\.0 GB are free"):
            offers.require("own")
    path = store.path("own")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Invalid, match="damaged"):
        offers.require("own")


def test_what_the_present_model_holds_counts_as_free(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def capacity(_: Settings, **what: object) -> Capacity:
        asked.update(what)
        return LAPTOP

    monkeypatch.setattr(subject, "capacity", capacity)
    offers = offered(store)
    weights_bytes = shipped().require(STARTER).size_bytes
    assert offers.capacity() == LAPTOP
    assert asked == {
        "threads": 2,
        "held_bytes": GB - weights_bytes,
        "directory": store.directory,
    }
    told = offers.machine(LAPTOP)
    assert (told.free_bytes, told.cores, told.gpus) == (LAPTOP.free_bytes, 2, ())
