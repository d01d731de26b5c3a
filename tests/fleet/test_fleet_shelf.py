"""Names of models: known ones first, then the habits of clients, anything else is refused."""

import msgspec
import pytest

from appliance.errors import Invalid, NotFound
from appliance.fleet.shelf import Shelf
from appliance.settings import Models, Settings, Worker

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
