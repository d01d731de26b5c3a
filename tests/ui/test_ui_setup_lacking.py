"""The first start's questions on a server that has no models yet."""

from pathlib import Path

import msgspec
import pytest
from stub_api import GB, StubApi, setup_now, setup_put, setup_status
from ui_driver import Driven, running

from appliance.errors import NotFound
from appliance.schema.setup import DownloadStatus, SetupPut
from ui.screens import polled
from ui.screens.setup import LanguageStep
from ui.screens.setup_model import ModelStep
from ui.texts import texts_for
from ui.widgets.path_field import PathField
from ui.widgets.plain import LineField

pytestmark = pytest.mark.ui

LACKING = ("starter-0.5b", "embedder")
NONE_CHOSEN = "no model is here yet and none was chosen; the operator goes on with F12"


@pytest.fixture
def bare(empty_api: StubApi, monkeypatch: pytest.MonkeyPatch) -> StubApi:
    """A server without models, which waits for somebody to choose one."""
    monkeypatch.setattr(polled, "REFRESH_S", 0.2)
    found = setup_status(done=False)
    absent = msgspec.structs.replace(found.models[0], state="absent", here_bytes=0)
    empty_api.setup = msgspec.structs.replace(
        found, models=(absent, *found.models[1:]), lacking=LACKING, settled=False
    )
    empty_api.is_ready = False
    empty_api.checks = {"models": NONE_CHOSEN}
    return empty_api


def arriving(name: str, state: str, percent: int) -> DownloadStatus:
    facts = {"name": name, "state": state, "percent": percent, "total_bytes": GB}
    return msgspec.convert(facts | {"done_bytes": GB * percent // 100}, DownloadStatus)


async def to_models(sluice: Driven) -> None:
    await sluice.until(lambda: isinstance(sluice.app.screen, LanguageStep))
    await sluice.press("escape")
    await sluice.until(lambda: isinstance(sluice.app.screen, ModelStep))
    await sluice.sees(sluice.texts.setup.lacking[:12])


async def test_what_is_chosen_is_downloaded_and_taken_into_use(bare: StubApi) -> None:
    async with running(bare, width=120) as sluice:
        await to_models(sluice)
        await sluice.sees("Enter downloads it and takes it into use")
        await sluice.press("enter")
        await sluice.sees("Downloading fitting-4b", "Enter goes on", "Next: starter-0.5b, embedder")
        assert setup_put(bare) == [SetupPut(chat="fitting-4b")]
        setup_now(
            bare, lacking=("fitting-4b", "embedder"), download=arriving("fitting-4b", "paused", 40)
        )
        await sluice.sees("fitting-4b is paused at 40 %", "Next: embedder")
        await sluice.press("p")
        await sluice.sees("Downloading fitting-4b")
        assert bare.setup is not None
        here = [
            msgspec.structs.replace(one, state="here" if one.chosen else one.state)
            for one in bare.setup.models
        ]
        setup_now(bare, models=tuple(here), lacking=("embedder",))
        setup_now(bare, download=arriving("embedder", "running", 10))
        await sluice.sees("Downloading embedder", "in use")
        setup_now(bare, lacking=(), download=arriving("embedder", "done", 100))
        await sluice.sees("fitting-4b is in use", "Enter keeps it")
        await sluice.sees_no("embedder")
        assert len(setup_put(bare)) == 1


async def test_another_model_may_be_chosen_while_one_is_downloaded(bare: StubApi) -> None:
    async with running(bare, width=120) as sluice:
        await to_models(sluice)
        await sluice.press("enter")
        await sluice.sees("Downloading fitting-4b")
        await sluice.press("up", "enter")
        await sluice.sees("Downloading starter-0.5b")
        await sluice.press("enter")
        await sluice.sees("▸3 FAQ")
        assert setup_put(bare) == [SetupPut(chat="fitting-4b"), SetupPut(chat="starter-0.5b")]


async def test_who_skips_the_question_gets_the_starter(bare: StubApi) -> None:
    async with running(bare, width=120) as sluice:
        await to_models(sluice)
        await sluice.press("escape")
        await sluice.sees("▸3 FAQ")
        await sluice.until(lambda: setup_put(bare))
        assert setup_put(bare) == [SetupPut(chat="starter-0.5b")]
        await sluice.press("left")
        await sluice.sees("Downloading starter-0.5b")
        await sluice.press("escape")
        await sluice.sees("▸3 FAQ")
        assert len(setup_put(bare)) == 1, "what was chosen stays"


async def test_models_are_taken_from_a_file(bare: StubApi) -> None:
    taken: list[Path] = []

    def bring(path: Path) -> str:
        taken.append(path)
        if path.name == "none":
            raise NotFound("there is no file none", hint="check the path")
        return "my-model"

    async def name(sluice: Driven, path: str) -> None:
        await sluice.press("i")
        await sluice.sees("Path of a GGUF file")
        sluice.app.screen.query_one(LineField).set_text(path)
        await sluice.press("enter")

    async with running(bare, width=120, bring=bring) as sluice:
        await to_models(sluice)
        await name(sluice, "/usb/none")
        await sluice.sees("there is no file none", "check the path")
        await name(sluice, "'/usb/my model.gguf'")
        await sluice.until(lambda: setup_put(bare))
        assert taken[-1] == Path("/usb/my model.gguf")
        assert setup_put(bare) == [SetupPut(chat="my-model")]


async def test_tab_completes_and_a_path_that_was_wrong_can_be_mended(
    bare: StubApi, tmp_path: Path
) -> None:
    (tmp_path / "faq-old.csv").touch()
    taken: list[Path] = []

    def bring(path: Path) -> str:
        taken.append(path)
        if not path.is_file():
            raise NotFound(f"there is no file {path}", hint="check the path")
        return "my-model"

    async with running(bare, width=120, bring=bring) as sluice:
        await to_models(sluice)
        await sluice.press("i")
        await sluice.sees("Path of a GGUF file", "Complete")
        field = sluice.app.screen.query_one(PathField)
        field.set_text(f"{tmp_path}/faq-ol")
        field.cursor_position = len(field.value)
        await sluice.until(lambda: field._suggestion)
        await sluice.press("x", "enter")
        await sluice.sees("check the path")
        assert taken == [tmp_path / "faq-olx"]

        await sluice.press("i")
        await sluice.sees("Path of a GGUF file")
        field = sluice.app.screen.query_one(PathField)
        assert field.value == f"{tmp_path}/faq-olx"
        await sluice.press("end", "backspace")
        await sluice.until(lambda: field._suggestion)
        await sluice.press("tab", "enter")
        await sluice.until(lambda: setup_put(bare))
        assert taken[-1] == tmp_path / "faq-old.csv"


async def test_tab_goes_on_where_there_is_nothing_to_complete(bare: StubApi) -> None:
    async with running(bare, width=120, bring=lambda _: "") as sluice:
        await to_models(sluice)
        await sluice.press("i")
        await sluice.sees("Path of a GGUF file")
        field = sluice.app.screen.query_one(PathField)
        await sluice.press("tab")
        await sluice.pilot.pause()
        assert sluice.app.screen.focused is field, "there is no other field"
        assert field.value == ""


async def test_a_download_is_paused_before_models_are_taken_from_a_file(bare: StubApi) -> None:
    states: list[str] = []

    def bring(_: Path) -> str:
        assert bare.setup is not None
        states.append(bare.setup.download.state)
        return "fitting-4b"

    coming = DownloadStatus(name="fitting-4b", state="running", total_bytes=GB)
    setup_now(bare, settled=True, download=coming)
    async with running(bare, width=120, bring=bring) as sluice:
        await sluice.until(lambda: isinstance(sluice.app.screen, LanguageStep))
        await sluice.press("escape")
        await sluice.sees("Downloading fitting-4b")
        await sluice.press("i")
        await sluice.sees("Path of a GGUF file")
        sluice.app.screen.query_one(LineField).set_text("/usb/sluice")
        await sluice.press("enter")
        await sluice.until(lambda: setup_put(bare))
        assert states == ["paused"]


async def test_no_file_is_asked_for_where_the_server_is_elsewhere(bare: StubApi) -> None:
    async with running(bare, width=120) as sluice:
        await to_models(sluice)
        await sluice.press("i")
        await sluice.pilot.pause()
        assert isinstance(sluice.app.screen, ModelStep)
        await sluice.sees_no("From a file")


async def test_a_failed_download_is_told_whole(bare: StubApi) -> None:
    failed = DownloadStatus(
        name="fitting-4b",
        state="failed",
        message="The server of the weights does not answer after many tries. " * 3,
        hint="Check the network.",
    )
    setup_now(bare, settled=True, download=failed)
    async with running(bare, width=80, height=24) as sluice:
        await sluice.until(lambda: isinstance(sluice.app.screen, LanguageStep))
        await sluice.press("escape")
        await sluice.sees("fitting-4b was not downloaded", "Check the", "network.")


async def test_why_a_download_or_a_model_failed_is_said_in_the_persons_language(
    bare: StubApi,
) -> None:
    failed = DownloadStatus(
        name="fitting-4b",
        state="failed",
        message="No room in /models: 5 bytes are needed.",
        hint="free some space",
        reason="disk",
        facts={"need": "5.0", "free": "0.1"},
    )
    setup_now(bare, settled=True, download=failed)
    async with running(bare, language="zh", width=120) as sluice:
        await sluice.until(lambda: isinstance(sluice.app.screen, LanguageStep))
        await sluice.press("escape")
        await sluice.sees("没有下载成功", "磁盘空间不足：需要 5.0 GB", "请清理磁盘")
        assert "No room" not in sluice.text
        setup_now(bare, trouble="cannot load", trouble_reason="load_failed")
        await sluice.sees("新模型无法启动", "模型无法加载")
        assert "cannot load" not in sluice.text


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_what_is_missing_is_said_in_both_languages(bare: StubApi, language: str) -> None:
    words = texts_for(language).setup
    name = "qwen2.5-coder-0.5b-instruct-q4_k_m"

    async with running(bare, language=language, width=80, height=24) as sluice:
        await sluice.sees(words.banner_choose)
        await to_models(sluice)
        await sluice.sees(words.lacking, f"★ {words.model_absent}")
        await sluice.sees_no(words.banner_choose)
        await sluice.press("f2")
        for check, shown in (
            (f"downloading {name}, 23 %", words.banner_fetching.format(name=name, percent=23)),
            (
                f"the download of {name} is paused at 9 %; the operator goes on",
                words.banner_paused.format(name=name, percent=9),
            ),
            (
                f"{name} was not downloaded: No route.; the operator goes on",
                words.banner_failed.format(name=name, reason="No route.")[:60]
                if language == "en"
                else words.banner_failed_why.format(name=name),
            ),
            ("the models are being fetched", words.banner_soon),
            (NONE_CHOSEN, words.banner_choose),
        ):
            bare.checks["models"] = check
            await sluice.sees(shown)
