"""Names of models: known ones first, then the habits of clients, anything else is refused."""

from pathlib import Path

import msgspec
import pytest

from appliance.errors import Invalid, NotFound
from appliance.fleet.shelf import Shelf
from appliance.settings import Settings
from appliance.settings.inference import Models, Worker
from models.store import Store

pytestmark = pytest.mark.unit

SETTINGS = Settings(
    worker=Worker(engine="fake"),
    models=Models(chat="first", more=("gpt-real#memory=7", "third"), aliases=("gpt-*", "mine")),
)


@pytest.mark.parametrize("asked", ["", "first", "mine", "gpt-4o"])
def test_the_chat_model_has_many_names(asked: str) -> None:
    assert Shelf(SETTINGS, "").resolve(asked) == ""


def test_a_known_name_comes_before_a_habit() -> None:
    shelf = Shelf(SETTINGS, "")
    assert shelf.resolve("gpt-real") == "gpt-real"
    assert shelf.needed_bytes(shelf.find("gpt-real")) == 7_000_000
    assert [weights.name for weights in shelf.listing()] == ["first", "gpt-real", "third"]


@pytest.mark.parametrize("asked", ["Mine", "fir", "../first", "x" * 300])
def test_an_unknown_name_is_refused_with_those_there_are(asked: str) -> None:
    with pytest.raises(NotFound) as caught:
        Shelf(SETTINGS, "").resolve(asked)
    assert "gpt-real" in caught.value.hint


def test_two_models_of_one_name_are_refused() -> None:
    models = msgspec.structs.replace(SETTINGS.models, more=("first",))
    with pytest.raises(Invalid, match="two models are called first"):
        Shelf(msgspec.structs.replace(SETTINGS, models=models), "")


def test_a_path_that_leads_nowhere_is_refused(tmp_path: object) -> None:
    settings = Settings(models=Models(directory=f"{tmp_path}", more=(f"{tmp_path}/none.gguf",)))
    with pytest.raises(Invalid, match="no model at"):
        Shelf(settings, f"{tmp_path}/chat.gguf")


def names(tmp_path: Path, chat: Path) -> list[str]:
    settings = Settings(models=Models(directory=str(tmp_path / "store")))
    return [weights.name for weights in Shelf(settings, str(chat)).listing()]


def test_a_chat_model_of_the_store_is_one_model_by_whatever_path_it_is_named(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "store")
    starter = store.path(store.catalogue.require("chat").name)
    starter.parent.mkdir()
    starter.write_bytes(b"weights")
    known = names(tmp_path, starter)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    beside = tmp_path / "store" / ".." / "link" / starter.name
    assert names(tmp_path, beside) == known
    assert known[0] == store.catalogue.require("chat").name


def test_a_chat_model_from_elsewhere_hides_one_of_the_store_with_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    name = store.catalogue.require("chat").name
    outside = tmp_path / f"{name}.gguf"
    outside.write_bytes(b"weights")
    found = names(tmp_path, outside)
    assert found[0] == name
    assert found.count(name) == 1


def test_what_a_model_of_the_store_is_good_for_is_said_in_both_languages(tmp_path: Path) -> None:
    settings = Settings(models=Models(directory=str(tmp_path / "store")))
    chat, *others = Shelf(settings, str(tmp_path / "own.gguf")).listing()
    assert chat.notes == {}
    assert others
    assert all(one.notes["en"] and one.notes["zh"] for one in others)
