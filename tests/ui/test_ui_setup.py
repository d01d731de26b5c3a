"""The first start's questions: asked of the operator, each skippable, each carried out."""

from pathlib import Path

import msgspec
import pytest
from stub_api import GB, KEY, StubApi, entry_of, problem, setup_now, setup_put, setup_status
from textual import events
from ui_driver import Driven, running

from appliance.schema.setup import DownloadStatus, SetupPut
from ui.faq_files import MAX_FAQ_BYTES
from ui.screens import polled
from ui.screens.setup import FaqStep, KeyStep, LanguageChosen, LanguageStep, SetupStep
from ui.screens.setup_model import ModelStep
from ui.texts import texts_for
from ui.widgets.plain import LineField

pytestmark = pytest.mark.ui


@pytest.fixture
def fresh(empty_api: StubApi, monkeypatch: pytest.MonkeyPatch) -> StubApi:
    """A server that nobody has set up; what is polled is read often."""
    monkeypatch.setattr(polled, "REFRESH_S", 0.2)
    empty_api.setup = setup_status(done=False)
    return empty_api


async def to_step(sluice: Driven, kind: type) -> None:
    """Skips what comes before a step."""
    await sluice.until(lambda: isinstance(sluice.app.screen, LanguageStep))
    while not isinstance(sluice.app.screen, kind):
        await skip(sluice)
    await sluice.until(lambda: sluice.app.screen.query("FooterKey"))


async def skip(sluice: Driven) -> None:
    here = sluice.app.screen
    await sluice.press("escape")
    await sluice.until(lambda: sluice.app.screen is not here)


async def test_every_question_can_be_skipped_and_then_nobody_is_asked_again(
    fresh: StubApi,
) -> None:
    async with running(fresh) as sluice:
        await sluice.sees("▸1 Language", "Which language", "English", "中文")
        await sluice.press("escape")
        await sluice.sees("▸2 Model", "8 cores", "no GPU")
        await sluice.press("escape")
        await sluice.sees("▸3 FAQ", "Load the demo FAQ", "empty FAQ")
        await sluice.press("escape")
        await sluice.sees("▸4 Key", KEY, "/data/sluice/admin.key")
        await sluice.press("escape")
        await sluice.sees("Ask a question.")
        await sluice.until(lambda: setup_put(fresh))
        assert setup_put(fresh) == [SetupPut(done=True)]
        assert fresh.setup is not None
        assert fresh.setup.done
    async with running(fresh) as sluice:
        await sluice.sees("● ready", "Ask a question.")
        assert not sluice.app.screen.query("#setup")


async def test_going_back_shows_the_question_before(fresh: StubApi) -> None:
    async with running(fresh) as sluice:
        await to_step(sluice, KeyStep)
        await sluice.press("left")
        await sluice.sees("▸3 FAQ")
        await sluice.press("ctrl+b")
        await sluice.sees("▸2 Model", "fitting-4b")
        await sluice.press("left")
        await sluice.sees("▸1 Language")
        await sluice.press("left")
        await sluice.pilot.pause()
        assert isinstance(sluice.app.screen, LanguageStep)


async def test_only_the_operator_is_asked(fresh: StubApi) -> None:
    fresh.overrides["GET", "/api/setup"] = problem(403, "unauthorized", "not for you")
    async with running(fresh) as sluice:
        await sluice.until(lambda: fresh.calls("GET", "/api/setup"))
        await sluice.sees("● ready", "Ask a question.")
        await sluice.press("f12", "ctrl+p")
        await sluice.type("set-up")
        await sluice.sees("set-up")
        await sluice.sees_no("Go through language")
        assert "not for you" not in sluice.text


async def test_a_language_is_spoken_at_once_and_everywhere(fresh: StubApi) -> None:
    fresh.add_session("Kept")
    async with running(fresh) as sluice:
        await sluice.sees("Which language")
        await sluice.press("down", "enter")
        await sluice.sees("▸2 模型", "8 个核心")
        await sluice.until(lambda: setup_put(fresh))
        assert setup_put(fresh) == [SetupPut(language="zh")]
        await sluice.press("f2")
        await sluice.sees("F2 对话", "就绪", "Kept")
        await sluice.press("f3")
        await sluice.sees("F3 问答")
        await sluice.press("f12")
        await sluice.sees("▸2 模型")
        await sluice.press("left")
        await sluice.sees("▸1 语言")
        await sluice.press("up", "enter")
        await sluice.sees("▸2 Model")


async def test_the_keys_work_while_the_server_takes_its_time_with_the_language(
    fresh: StubApi,
) -> None:
    fresh.holds.add(("PUT", "/api/setup"))
    async with running(fresh) as sluice:
        await sluice.sees("Which language")
        await sluice.press("down", "enter")
        await sluice.sees("▸2 模型")
        await sluice.press("escape")
        await sluice.sees("▸3 问答")
        assert fresh.setup == setup_status(done=False), "it has not answered yet"
        fresh.let_go()
        await sluice.until(lambda: fresh.setup is not None and fresh.setup.language == "zh")


async def speak_chinese(sluice: Driven) -> None:
    await sluice.press("f12")
    await sluice.until(lambda: isinstance(sluice.app.screen, LanguageStep))
    await sluice.press("down", "enter")
    await sluice.sees("▸2 模型")
    await sluice.press("f2")
    await sluice.sees("F2 对话", "就绪")


async def test_what_was_typed_outlives_another_language(fresh: StubApi) -> None:
    setup_now(fresh, done=True)
    first, second = fresh.add_session("First"), fresh.add_session("Second", minutes_ago=1)
    async with running(fresh) as sluice:
        await sluice.sees("● ready", "First", "Second")
        await sluice.type("for a new one")
        await sluice.chat.open_session(first.id)
        await sluice.type("begun here")
        await sluice.chat.open_session(second.id)
        await sluice.type("and here")
        await speak_chinese(sluice)
        await sluice.sees("and here")
        await sluice.type(" again")
        await sluice.ask("")
        sent = fresh.calls("POST", f"/api/sessions/{second.id}/messages")
        assert msgspec.json.decode(sent[0].body)["text"] == "and here again"
        for session_id, text in ((first.id, "begun here"), ("", "for a new one")):
            await sluice.chat.open_session(session_id)
            await sluice.sees(text)


async def test_a_file_that_was_attached_outlives_another_language(
    fresh: StubApi, tmp_path: Path
) -> None:
    setup_now(fresh, done=True)
    (tmp_path / "notes.txt").write_text("one\ntwo")
    async with running(fresh) as sluice:
        await sluice.sees("● ready")
        await sluice.press("ctrl+o")
        await sluice.until(lambda: sluice.app.screen.query(LineField))
        sluice.app.screen.query_one(LineField).set_text(str(tmp_path / "notes.txt"))
        await sluice.press("enter")
        await sluice.sees("+ notes.txt")
        await speak_chinese(sluice)
        await sluice.sees("+ notes.txt")


async def test_a_language_is_taken_though_one_has_just_gone_elsewhere(fresh: StubApi) -> None:
    async with running(fresh) as sluice:
        await sluice.sees("Which language")
        await sluice.press("f2")
        sluice.app.post_message(LanguageChosen("zh"))
        await sluice.sees("▸2 模型")
        await sluice.press("f2")
        await sluice.sees("F2 对话")


async def test_what_to_expect_of_a_model_is_said(fresh: StubApi) -> None:
    async with running(fresh, width=120) as sluice:
        await to_step(sluice, ModelStep)
        await sluice.sees("★ not here", "fitting-4b in English.", "★ Suggested")
        await sluice.sees("About 12 tokens a second", "after about 8 s", "Enter downloads it")
        await sluice.press("down")
        await sluice.sees("Free some space", "disk full")
        await sluice.press("enter")
        await sluice.press("down")
        await sluice.sees("too little free memory", "huge-30b in English.")
        await sluice.press("enter")
        await sluice.press("up", "up", "up")
        await sluice.sees("Enter keeps it", "in use")
        assert not fresh.calls("POST", "/api/setup/download")
        await sluice.press("enter")
        await sluice.sees("▸3 FAQ")
        assert not setup_put(fresh)


async def test_a_download_is_paused_and_goes_on_and_the_model_is_taken(fresh: StubApi) -> None:
    name, size = "fitting-4b", int(2.5 * GB)

    def arrived(state: str, percent: int) -> None:
        done = size * percent // 100
        setup_now(
            fresh,
            download=msgspec.convert(
                {
                    "name": name,
                    "state": state,
                    "done_bytes": done,
                    "total_bytes": size,
                    "percent": percent,
                },
                DownloadStatus,
            ),
        )

    async with running(fresh, width=120) as sluice:
        await to_step(sluice, ModelStep)
        await sluice.sees("Enter downloads it")
        await sluice.press("enter")
        await sluice.sees("Downloading fitting-4b", "0 %")
        arrived("running", 25)
        await sluice.sees("625 MB of 2.5 GB, 25 %", "25 % here", "━━━━━━──", "left")
        await sluice.press("p")
        await sluice.sees("fitting-4b is paused at 25 %")
        await sluice.press("p")
        await sluice.sees("Downloading fitting-4b")
        arrived("checking", 100)
        await sluice.sees("Checking fitting-4b")
        arrived("done", 100)
        assert fresh.setup is not None
        models = tuple(
            msgspec.structs.replace(one, state="here", here_bytes=size) if one.name == name else one
            for one in fresh.setup.models
        )
        setup_now(fresh, models=models)
        await sluice.sees("Enter on it takes it into use", "Enter takes it into use; the server")
        await sluice.press("enter")
        await sluice.sees("Taking fitting-4b into use")
        assert setup_put(fresh) == [SetupPut(chat=name)]
        fresh.down()
        await sluice.sees("The server at")
        setup_now(fresh, chat=name, restarting=False)
        fresh.up()
        await sluice.sees("fitting-4b is in use.")


async def test_why_a_model_did_not_start_is_told(fresh: StubApi) -> None:
    assert fresh.setup is not None
    here = msgspec.structs.replace(fresh.setup.models[1], state="here")
    setup_now(fresh, models=(fresh.setup.models[0], here))
    async with running(fresh, width=120) as sluice:
        await to_step(sluice, ModelStep)
        await sluice.sees("Enter takes it into use")
        await sluice.press("enter")
        await sluice.sees("Taking fitting-4b")
        setup_now(fresh, restarting=False, trouble="it is [bold]broken[/]")
        await sluice.sees("did not start", "it is [bold]broken[/]")


async def test_a_refusal_and_a_failed_download_are_told(fresh: StubApi) -> None:
    fresh.overrides["POST", "/api/setup/download"] = problem(
        409, "conflict", "big is being downloaded", hint="pause it first"
    )
    async with running(fresh, width=120) as sluice:
        await to_step(sluice, ModelStep)
        await sluice.sees("Enter downloads it")
        await sluice.press("enter")
        await sluice.sees("big is being downloaded", "pause it first")
        del fresh.overrides["POST", "/api/setup/download"]
        failed = DownloadStatus(
            name="fitting-4b", state="failed", message="No room.", hint="Free some."
        )
        setup_now(fresh, download=failed)
        await sluice.sees("fitting-4b was not downloaded: No room. Free some.")
        await sluice.press("p")
        await sluice.sees("Downloading fitting-4b")


async def test_a_fixed_model_is_said_to_be_fixed(fresh: StubApi) -> None:
    setup_now(fresh, fixed="it was given")
    async with running(fresh, bring=lambda _: "") as sluice:
        await to_step(sluice, ModelStep)
        await sluice.sees("cannot be changed here: it was given.")
        await sluice.sees_no("From a file")


async def test_a_model_is_taken_from_a_file_though_another_one_answers(fresh: StubApi) -> None:
    async with running(fresh, width=120, bring=lambda path: path.stem) as sluice:
        await to_step(sluice, ModelStep)
        await sluice.sees("From a file")
        await sluice.press("i")
        await sluice.sees("Path of a GGUF file")
        sluice.app.screen.query_one(LineField).set_text("/usb/fitting-4b.gguf")
        await sluice.press("enter")
        await sluice.sees("Taking fitting-4b into use")
        assert setup_put(fresh) == [SetupPut(chat="fitting-4b")]
        setup_now(fresh, chat="fitting-4b", restarting=False)
        await sluice.sees("fitting-4b is in use.")


async def test_the_demo_is_loaded_and_leads_on(fresh: StubApi) -> None:
    fresh.demo = (entry_of("e-demo", "A demo question?", "A demo answer."),)
    async with running(fresh) as sluice:
        await to_step(sluice, FaqStep)
        await sluice.press("enter")
        await sluice.sees("▸4 Key", "FAQ: 1 new")
        assert list(fresh.entries) == ["e-demo"]


async def test_a_file_is_imported_or_it_is_said_why_not(fresh: StubApi, tmp_path: Path) -> None:
    good, wrong = tmp_path / "问答.csv", tmp_path / "faq.docx"
    good.write_text("question,answer", encoding="utf-8")
    wrong.write_text("x")
    large = tmp_path / "large.md"
    with large.open("wb") as file:
        file.truncate(MAX_FAQ_BYTES + 1)
    (tmp_path / "folder.csv").mkdir()

    async def give(sluice: Driven, path: Path) -> None:
        await sluice.press("enter")
        await sluice.sees("Path of the file")
        sluice.app.screen.query_one(LineField).set_text(str(path))
        await sluice.press("enter")

    async with running(fresh, width=120) as sluice:
        await to_step(sluice, FaqStep)
        await sluice.press("down")
        for path, said in (
            (tmp_path / "none.csv", "There is no such file"),
            (wrong, "Only .csv .xlsx"),
            (large, "larger than 16 MB"),
            (tmp_path / "folder.csv", "cannot be read as a file"),
        ):
            await give(sluice, path)
            await sluice.sees(said)
        fresh.overrides["POST", "/api/faq/import"] = problem(400, "invalid", "line 2 is wrong")
        await give(sluice, good)
        await sluice.sees("line 2 is wrong")
        del fresh.overrides["POST", "/api/faq/import"]
        await give(sluice, good)
        await sluice.sees("▸4 Key", "FAQ: 1 new")
        sent = fresh.calls("POST", "/api/faq/import")[-1]
        assert (sent.body, sent.headers["content-type"]) == (b"question,answer", "text/csv")


async def test_the_key_is_shown_once_and_copied(fresh: StubApi) -> None:
    async with running(fresh, width=120) as sluice:
        await to_step(sluice, KeyStep)
        await sluice.sees(KEY, "shown only now")
        await sluice.press("c")
        await sluice.sees("sent to the clipboard")
        assert sluice.app.clipboard == KEY
        await sluice.press("enter")
        await sluice.sees("Ask a question.")
        await sluice.press("ctrl+p")
        await sluice.type("set-up")
        await sluice.sees("Go through language")
        await sluice.press("enter")
        await to_step(sluice, KeyStep)
        await sluice.sees("was shown when this was first set up", "/data/sluice/admin.key")
        assert KEY not in sluice.text


async def test_the_mark_is_set_though_the_server_is_away_just_then(fresh: StubApi) -> None:
    async with running(fresh) as sluice:
        await to_step(sluice, KeyStep)
        fresh.overrides["PUT", "/api/setup"] = problem(503, "unavailable", "starting anew")
        await sluice.press("enter")
        await sluice.until(lambda: setup_put(fresh))
        del fresh.overrides["PUT", "/api/setup"]
        await sluice.until(lambda: fresh.setup is not None and fresh.setup.done)


async def test_other_places_are_a_key_away_and_the_step_stays(fresh: StubApi) -> None:
    async with running(fresh) as sluice:
        await to_step(sluice, FaqStep)
        await sluice.press("f4")
        await sluice.sees("Processes")
        await sluice.press("f12")
        await sluice.sees("▸3 FAQ")


async def test_an_older_server_asks_nothing(fresh: StubApi) -> None:
    fresh.setup = None
    async with running(fresh) as sluice:
        await sluice.until(lambda: fresh.calls("GET", "/api/setup"))
        await sluice.sees("● ready", "Ask a question.")


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_nothing_is_cut_off_at_eighty_columns(fresh: StubApi, language: str) -> None:
    assert fresh.setup is not None
    long = "q" * 34  # as the longest of the catalogue
    models = [msgspec.structs.replace(fresh.setup.models[0], name=long), *fresh.setup.models]
    setup_now(fresh, models=tuple(models))
    words = texts_for(language).setup
    states = (words.model_no_memory, words.model_no_disk, f"★ {words.model_absent}")
    async with running(fresh, language=language, width=80, height=24) as sluice:
        await to_step(sluice, ModelStep)
        await sluice.sees("huge-30b", *(f"  {state}\n" for state in states))
        await skip(sluice)
        await skip(sluice)
        await sluice.sees(KEY, sluice.texts.setup.key_next[:8])


async def test_quick_keys_go_through_one_change_after_another(fresh: StubApi) -> None:
    async with running(fresh) as sluice:
        await to_step(sluice, ModelStep)
        for _ in range(3):
            for pressed in ("f4", "f12", "escape", "f12", "f12", "left", "f2", "f12", "escape"):
                sluice.app.post_message(events.Key(pressed, None))
            await sluice.pilot.pause()
        await sluice.press("f2", "f12")
        await sluice.until(lambda: sluice.app.current_mode == "setup")
        assert isinstance(sluice.app.screen, SetupStep)
        assert len(sluice.app.screen_stack) == 2


async def test_pages_are_turned_in_a_list_without_room(fresh: StubApi) -> None:
    async with running(fresh, width=4, height=40) as sluice:
        await sluice.until(lambda: isinstance(sluice.app.screen, LanguageStep))
        await sluice.press("pageup", "pagedown")
        await sluice.pilot.resize_terminal(100, 30)
        await sluice.sees("Which language")
