"""What one can do with a conversation: point, copy, retry, edit, open sources, find, export."""

import json
from pathlib import Path

import pytest
from stub_api import NOW_MS, StubApi, problem
from ui_driver import Driven, running

from appliance.schema.answers import Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import Delta, Done, Retrieved
from ui.attachments import Asked, Attachment, joined
from ui.screens import find
from ui.screens.entry_editor import EntryEditor
from ui.screens.entry_reader import EntryReader
from ui.widgets.answer import Answer
from ui.widgets.turn_view import TurnView

pytestmark = pytest.mark.ui

DONE = Done(finish_reason="stop", model="m", usage=Usage(), timings=Timings())


def match_of(entry_id: str, question: str) -> Match:
    return Match(
        id=entry_id,
        question=question,
        phrasing=question,
        answer="As it was.",
        category="",
        language="en",
        score=0.9,
    )


def done(turn_id: str, question: str, answer: str, *matches: Match) -> Turn:
    return Turn(
        id=turn_id,
        created_at_ms=NOW_MS,
        question=question,
        answer=answer,
        state="done",
        matches=matches,
    )


@pytest.fixture
def talk(api: StubApi) -> StubApi:
    first = match_of("e-1", "What is this?")
    gone = match_of("e-99", "What was that?")
    api.add_session(
        "Talk",
        done("r-1", "First question?", "First answer.", first),
        done("r-2", "Second question?", "Second [1] and [2].", first, gone),
    )
    return api


async def read(sluice: Driven) -> None:
    """Opens the first session and goes into it."""
    await sluice.sees("Talk")
    await sluice.press("ctrl+down")
    await sluice.sees("Second question?")
    await sluice.press("ctrl+b")
    await sluice.sees("Sources")


async def test_the_answer_pointed_at_is_copied(talk: StubApi) -> None:
    async with running(talk) as sluice:
        await read(sluice)
        await sluice.press("c")
        await sluice.sees("Copied: 19 characters.")
        assert sluice.app.clipboard == "Second [1] and [2]."
        await sluice.press("k", "c")
        await sluice.until(lambda: sluice.app.clipboard == "First answer.")
        await sluice.press("q")
        await sluice.until(lambda: sluice.app.clipboard == "First question?")
        await sluice.press("j", "c")
        await sluice.until(lambda: sluice.app.clipboard == "Second [1] and [2].")


async def test_a_question_is_sent_once_more_or_put_back(talk: StubApi) -> None:
    async with running(talk) as sluice:
        await read(sluice)
        await sluice.press("k", "r")
        await sluice.until(lambda: talk.streams)
        assert talk.turns["s-2"][-1].question == "First question?"
        talk.emit(talk.last_request_id(), DONE)
        await sluice.sees("finished")
        await sluice.press("escape", "ctrl+b", "k", "e")
        await sluice.type(" Really?")
        await sluice.press("enter")
        await sluice.until(lambda: len(talk.streams) == 2)
        assert talk.turns["s-2"][-1].question == "Second question? Really?"


async def test_a_citation_opens_its_entry_by_key_and_by_click(talk: StubApi) -> None:
    async with running(talk) as sluice:
        await read(sluice)
        await sluice.press("1")
        await sluice.sees("FAQ entry", "A test.")
        await sluice.press("escape")
        await sluice.sees_no("A test.")
        await sluice.press("2")
        await sluice.sees("is not in the FAQ any more", "As it was.")
        await sluice.press("escape")
        answer = list(sluice.chat.query(Answer))[-1]
        await sluice.until(lambda: answer.is_drawn)
        await sluice.pilot.click(answer, offset=(len(" Second ") + 1, 1))
        await sluice.until(lambda: isinstance(sluice.app.screen, EntryReader))
        await sluice.sees("A test.")


async def test_sources_are_picked_and_edited(talk: StubApi) -> None:
    async with running(talk) as sluice:
        await read(sluice)
        await sluice.press("o")
        await sluice.sees("1  What is this?", "2  What was that?")
        await sluice.press("enter")
        await sluice.sees("A test.")
        await sluice.press("e")
        await sluice.until(lambda: isinstance(sluice.app.screen, EntryEditor))
        await sluice.press("escape")
        view = list(sluice.chat.query(TurnView))[-1]
        await sluice.pilot.click(view.query_one(".sources"), offset=(12, 1))
        await sluice.sees("A test.")


async def test_citations_of_a_running_answer_are_known_as_soon_as_it_begins(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        request_id = await sluice.ask("q")
        api.emit(request_id, Retrieved(matches=(match_of("e-1", "What is this?"),)))
        api.emit(request_id, Delta(text="It is [1]"))
        await sluice.sees("It is [1]")
        await sluice.press("ctrl+b", "1")
        await sluice.sees("A test.")


async def test_a_file_goes_with_the_question(api: StubApi, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("line one\nline two\n", encoding="utf-8")
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("ctrl+o")
        await sluice.sees("Attach a text file")
        await sluice.type(str(tmp_path / "missing"))
        await sluice.press("enter")
        await sluice.sees("There is no such file.")
        for typed in (str(path), f"'{path}'"):
            await sluice.press("ctrl+o")
            await sluice.type(typed)
            await sluice.press("enter")
            await sluice.sees("+ notes.txt, 2 lines")
        await sluice.press("ctrl+d")
        await sluice.ask("What does it say?")
        await sluice.sees("+ with notes.txt, 2 lines")
        assert "line one" not in sluice.text
        await sluice.sees_no("Ctrl+D in an empty prompt")
        question = api.turns["s-2"][0].question
        assert question == "What does it say?\n\nFile: notes.txt\n```\nline one\nline two\n```"


async def test_files_are_kept_with_the_draft_and_come_back_with_the_question(
    api: StubApi, tmp_path: Path
) -> None:
    api.add_session("Other")
    path = tmp_path / "notes.txt"
    path.write_text("text", encoding="utf-8")
    async with running(api) as sluice:
        await sluice.sees("Other")
        await sluice.press("ctrl+o")
        await sluice.type(str(path))
        await sluice.press("enter")
        await sluice.sees("+ notes.txt")
        await sluice.press("ctrl+down")
        await sluice.sees_no("+ notes.txt")
        await sluice.press("ctrl+up")
        await sluice.sees("+ notes.txt")
        api.emit(await sluice.ask("Why?"), DONE)
        await sluice.sees("finished")
        await sluice.press("ctrl+g")
        await sluice.sees("+ notes.txt, 1 lines")


async def test_a_question_that_comes_back_takes_nothing_of_the_draft(
    talk: StubApi, tmp_path: Path
) -> None:
    (tmp_path / "new.txt").write_text("new")
    asked = joined(Asked("With a file?", (Attachment("old.txt", "old"),)))
    talk.add_session("Files", done("f-1", asked, "Yes."), minutes_ago=-1)
    async with running(talk) as sluice:
        await sluice.sees("Files")
        await sluice.press("ctrl+down")
        await sluice.sees("With a file?", "Yes.")
        await sluice.press("ctrl+o")
        await sluice.type(str(tmp_path / "new.txt"))
        await sluice.press("enter")
        await sluice.sees("+ new.txt")
        await sluice.type("My draft")
        await sluice.press("home", "ctrl+g")
        await sluice.sees("+ new.txt", "+ old.txt")
        draft = sluice.chat._composer.draft
        assert draft.text == "My draft\nWith a file?"
        assert [one.name for one in draft.attachments] == ["new.txt", "old.txt"]
        await sluice.press("ctrl+g")
        assert len(sluice.chat._composer.draft.attachments) == 2


async def test_words_are_found_in_all_conversations_and_opened(talk: StubApi) -> None:
    talk.add_session(
        "Long", *(done(f"q-{n:02}", f"Number {n:02}?", "Yes.") for n in range(60)), minutes_ago=5
    )
    async with running(talk) as sluice:
        await sluice.sees("Talk", "Long")
        await sluice.press("ctrl+f")
        await sluice.sees("Find in conversations")
        await sluice.type("SECOND")
        await sluice.sees("Found: 1", "Second question?")
        await sluice.press(*["backspace"] * 6)
        await sluice.type("number 03")
        await sluice.sees("Found: 1", "Number 03?")
        await sluice.press("enter")
        await sluice.until(lambda: not sluice.app.screen.is_modal)
        await sluice.sees("Number 03?")
        await sluice.until(lambda: sluice.chat.query(".-pointed"))
        assert sluice.chat.query_one(".-pointed", TurnView).turn.id == "q-03"


async def test_enter_opens_what_the_words_find_that_stand_there_by_then(
    talk: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.add_session("Other", done("q-1", "A tale of zebras?", "Yes."), minutes_ago=5)
    async with running(talk) as sluice:
        await sluice.sees("Talk", "Other")
        await sluice.press("ctrl+f")
        await sluice.type("second")
        await sluice.sees("Found: 1", "Second question?")
        monkeypatch.setattr(find, "DELAY_S", 600.0)
        await sluice.press(*["backspace"] * 6)
        await sluice.type("zebras")
        await sluice.press("enter")
        await sluice.until(lambda: not sluice.app.screen.is_modal)
        await sluice.sees("A tale of zebras?")


async def test_a_session_is_found_by_its_title(talk: StubApi) -> None:
    talk.add_session("About [b]herons[/b]", done("q-1", "Which bird?", "A grey one."))
    async with running(talk) as sluice:
        await sluice.sees("Talk", "About")
        await sluice.press("ctrl+f")
        await sluice.type("herons")
        await sluice.sees("Found: 1", "About [b]herons[/b]  title")
        await sluice.press("enter")
        await sluice.sees("Which bird?", "A grey one.")


async def test_a_search_that_finds_nothing_or_fails_says_so(talk: StubApi) -> None:
    async with running(talk) as sluice:
        await sluice.sees("Talk")
        await sluice.press("ctrl+f")
        await sluice.type("x")
        await sluice.sees("Type two letters or more")
        await sluice.type("yz")
        await sluice.sees("Nothing found.")
        await sluice.press("escape", "ctrl+f")
        talk.overrides["GET", "/api/search"] = problem(503, "unavailable", "the store is away")
        await sluice.type("question")
        await sluice.sees("the store is away")


@pytest.mark.parametrize("name", ["out.md", "out.json"])
async def test_a_whole_conversation_is_exported(api: StubApi, tmp_path: Path, name: str) -> None:
    api.add_session("Long", *(done(f"q-{n:02}", f"Number {n:02}?", "Yes.") for n in range(50)))
    path = tmp_path / name
    async with running(api) as sluice:
        await sluice.sees("Long")
        await sluice.press("ctrl+down", "ctrl+s")
        await sluice.sees("Export the conversation")
        await sluice.press("ctrl+u")
        await sluice.type(str(path))
        await sluice.press("enter")
        await sluice.sees("Written:")
        text = path.read_text(encoding="utf-8")
        if name == "out.json":
            assert len(json.loads(text)["turns"]) == 50
        else:
            assert [f"## Number {n:02}?" in text for n in range(50)] == [True] * 50
        await sluice.press("ctrl+s", "ctrl+u")
        await sluice.type(str(path))
        await sluice.press("enter")
        await sluice.sees("That file exists already.")


async def test_a_warm_session_is_marked(api: StubApi) -> None:
    session = api.add_session("Warm one")
    api.sessions[session.id] = type(session)(
        **{name: getattr(session, name) for name in session.__struct_fields__} | {"warm": True}
    )
    api.add_session("Cold one")
    async with running(api) as sluice:
        await sluice.sees("~ Warm one", "  Cold one")
        assert "~ Cold" not in sluice.text
