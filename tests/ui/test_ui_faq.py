"""The FAQ screen: table, search, filters, editor, deletion, demo."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from rich.cells import cell_len
from stub_api import NOW_MS, StubApi, entry_of, problem
from textual.widgets import Select
from ui_driver import Driven, running

from appliance.schema.answers import Match
from appliance.schema.curation import Flip, Outcome
from ui.screens.entry_editor import EntryEditor
from ui.screens.faq import SORTED_ROWS
from ui.widgets.faq_table import FaqTable

pytestmark = pytest.mark.ui


@asynccontextmanager
async def at_faq(api: StubApi, *, width: int = 100, language: str = "en") -> AsyncIterator[Driven]:
    async with running(api, width=width, language=language) as sluice:
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3")
        yield sluice


@pytest.fixture
def filled(empty_api: StubApi) -> StubApi:
    empty_api.add_entry("Reset my password?", "Press Reset.", category="account")
    empty_api.add_entry("忘记密码怎么办？", "点击“重置”。", category="账户", language="zh")
    empty_api.add_entry("Passwords of guests?", "At the desk.", category="office", state="draft")
    return empty_api


def match_of(api: StubApi, question: str, score: float) -> Match:
    entry = next(e for e in api.entries.values() if e.question == question)
    return Match(
        id=entry.id,
        question=entry.question,
        phrasing=entry.question,
        answer=entry.answer,
        category=entry.category,
        language=entry.language,
        score=score,
    )


async def test_the_table_shows_entries_and_the_answer_of_the_one_pointed_at(
    filled: StubApi,
) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Reset my password?", "忘记密码怎么办？", "draft", "Entries: 3")
        await sluice.sees("Press Reset.")
        await sluice.press("down")
        await sluice.sees("点击“重置”。")


async def test_a_search_asks_by_meaning_and_adds_what_has_the_text(filled: StubApi) -> None:
    filled.matches = (match_of(filled, "Reset my password?", 0.93),)
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        await sluice.press("slash")
        await sluice.type("password")
        await sluice.sees("Found: 2", "0.93", "Passwords of guests?", "Score")
        assert filled.calls("GET", "/api/faq/search")[-1].query["q"] == "password"
        await sluice.press("escape")
        await sluice.sees("Entries: 3", "State")


async def test_a_search_goes_on_by_text_when_the_index_is_away(filled: StubApi) -> None:
    filled.overrides["GET", "/api/faq/search"] = problem(503, "unavailable", "no index")
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        await sluice.press("slash")
        await sluice.type("guests")
        await sluice.sees("Found: 1, by text only", "Passwords of guests?")


async def test_a_search_sends_one_call_for_what_was_typed(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        await sluice.press("slash")
        await sluice.type("password")
        await sluice.press("enter")
        await sluice.sees("Found")
        asked = [call.query["q"] for call in filled.calls("GET", "/api/faq/search")]
        assert asked[-1] == "password"
        assert len(asked) < len("password")


async def test_filters_ask_the_server(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        await sluice.press("shift+tab", "enter", "down", "down", "enter")
        await sluice.sees("Entries: 1", "忘记密码怎么办？")
        await sluice.sees_no("Reset my password?")
        assert filled.calls("GET", "/api/faq")[-1].query["language"] == "zh"


async def test_the_table_reads_on_at_its_end(empty_api: StubApi) -> None:
    empty_api.page_limit = 50
    for number in range(70):
        empty_api.add_entry(f"Question {number:02}?", "Answer.")
    async with at_faq(empty_api) as sluice:
        await sluice.sees("Entries: 50 so far, more below")
        await sluice.press("ctrl+end")
        await sluice.sees("Entries: 70")
        await sluice.press("ctrl+end")
        await sluice.sees("Question 69?")


async def test_the_table_is_sorted_by_column_with_all_that_there_is(empty_api: StubApi) -> None:
    empty_api.page_limit = 50
    for number in reversed(range(330)):
        empty_api.add_entry(f"Question {number:03}?", "Answer.", category="ab"[number % 2])
    async with at_faq(empty_api) as sluice:
        await sluice.sees("Entries: 50 so far, more below", "Question 329?")
        await sluice.press("o")
        await sluice.sees("Question ▲", "Entries: 330", "Question 000?")
        await sluice.sees_no("Question 329?")
        await sluice.press("ctrl+end", "ctrl+end")
        await sluice.sees("Question 329?")
        await sluice.press("o", "ctrl+home")
        await sluice.sees("Category ▲", "Question 002?")
        await sluice.sees_no("Question 001?")
        await sluice.press("o", "o", "o", "ctrl+home")
        await sluice.sees("Question 329?")
        await sluice.sees_no("▲")


async def test_a_further_page_is_only_added(empty_api: StubApi) -> None:
    empty_api.page_limit = 50
    for number in range(120):
        empty_api.add_entry(f"Question {number:03}?", "Answer.")
    async with at_faq(empty_api) as sluice:
        await sluice.sees("Entries: 50 so far")
        table = sluice.app.screen.query_one(FaqTable)
        first = table.get_row_at(0)
        await sluice.press("ctrl+end")
        await sluice.sees("Entries: 100 so far")
        assert table.get_row_at(0)[0] is first[0]


async def test_an_entry_is_added(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        await sluice.press("a")
        await sluice.sees("New entry", "Other phrasings")
        await sluice.type("What now?")
        await sluice.press("tab")
        await sluice.type("and now?")
        await sluice.press("enter")
        await sluice.type("then?")
        await sluice.press("ctrl+s")
        await sluice.sees("The answer is missing.")
        await sluice.press("tab")
        await sluice.type("Lunch.")
        await sluice.press("ctrl+s")
        await sluice.sees("Entries: 4", "What now?", "Saved.")
        added = list(filled.entries.values())[-1]
        assert (added.answer, added.phrasings) == ("Lunch.", ("and now?", "then?"))
        assert added.state == "published"


async def test_an_entry_is_changed(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        await sluice.press("enter")
        await sluice.sees("Edit entry", "Press Reset.")
        await sluice.press("tab", "tab", "end")
        await sluice.type(" Twice.")
        await sluice.press("ctrl+s")
        await sluice.sees("Press Reset. Twice.", "Entries: 3")


async def test_a_refused_save_keeps_the_form(filled: StubApi) -> None:
    filled.overrides["POST", "/api/faq"] = problem(
        400, "invalid", "no such language", hint="use en"
    )
    async with at_faq(filled) as sluice:
        await sluice.press("a")
        await sluice.sees("New entry")
        await sluice.type("Q?")
        await sluice.press("tab", "tab")
        await sluice.type("A.")
        await sluice.press("ctrl+s")
        await sluice.sees("Not accepted: no such language", "use en", "Q?", "A.")


async def test_a_save_without_server_keeps_the_form_and_can_be_tried_again(
    filled: StubApi,
) -> None:
    async with at_faq(filled) as sluice:
        await sluice.press("a")
        await sluice.sees("New entry")
        await sluice.type("Q?")
        await sluice.press("tab", "tab")
        await sluice.type("A.")
        filled.down()
        await sluice.press("ctrl+s")
        await sluice.sees("The server cannot be reached", "A.")
        filled.up()
        await sluice.press("ctrl+s")
        await sluice.sees("Entries: 4")


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_what_would_spoil_a_saved_question_is_published_only_when_saved_once_more(
    filled: StubApi, language: str
) -> None:
    entry = next(iter(filled.entries.values()))
    right = Outcome(entry_id=entry.id, score=0.9, passed=True, at_ms=NOW_MS)
    wrong = msgspec.structs.replace(right, entry_id="", passed=False)
    spoiled = Flip(id="g-1", question="Where is [b]it[/b]?", was=right, now=wrong)
    mended = Flip(id="g-2", question="And the key?", was=wrong, now=right)
    filled.curation.flips = (spoiled, mended)
    async with at_faq(filled, language=language) as sluice:
        await sluice.sees(entry.question)
        await sluice.press("enter")
        await sluice.until(lambda: isinstance(sluice.app.screen, EntryEditor))
        await sluice.type("Mine: ")
        await sluice.press("ctrl+s")
        await sluice.sees(sluice.texts.faq.editor_flips[:4], "[b]it[/b]?”")
        assert "And the key?" not in sluice.text
        assert filled.entries[entry.id] == entry
        await sluice.press("ctrl+s")
        await sluice.until(lambda: "Mine:" in filled.entries[entry.id].question)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_somebody_elses_edit_is_shown_before_it_is_replaced(
    filled: StubApi, language: str
) -> None:
    entry = next(iter(filled.entries.values()))
    filled.entries[entry.id] = msgspec.structs.replace(entry, valid_until="2031-01-01")
    async with at_faq(filled, language=language) as sluice:
        conflict = sluice.texts.faq.editor_conflict
        await sluice.sees(entry.question)
        await sluice.press("enter")
        await sluice.until(lambda: isinstance(sluice.app.screen, EntryEditor))
        theirs = msgspec.structs.replace(
            filled.entries[entry.id], answer="[b]Theirs[/b]", version=entry.version + 1
        )
        filled.entries[entry.id] = theirs
        await sluice.type("Mine: ")
        await sluice.press("ctrl+s")
        await sluice.sees(conflict[:10], "[b]Theirs[/b]", "Mine: ")
        assert filled.entries[entry.id] == theirs
        await sluice.press("ctrl+s")
        await sluice.until(lambda: not isinstance(sluice.app.screen, EntryEditor))
        saved = filled.entries[entry.id]
        assert saved.answer == entry.answer
        assert "Mine: " in f"{saved.question} "
        assert saved.valid_until == "2031-01-01"


async def test_leaving_a_changed_form_asks_first(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.press("a")
        await sluice.sees("New entry")
        await sluice.press("escape")
        await sluice.sees("Entries: 3")
        await sluice.press("a")
        await sluice.sees("New entry")
        await sluice.type("Half")
        await sluice.press("escape")
        await sluice.sees("Leave without saving?")
        await sluice.press("enter")
        await sluice.sees("Half")
        assert isinstance(sluice.app.screen, EntryEditor)
        await sluice.press("escape", "left", "enter")
        await sluice.sees("Entries: 3")


async def test_deleting_an_entry_asks_first(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        await sluice.press("delete")
        await sluice.sees("Delete this entry?", "“Reset my password?”")
        await sluice.press("escape")
        await sluice.sees("Entries: 3")
        await sluice.press("delete", "left", "enter")
        await sluice.sees("Entries: 2")
        await sluice.sees_no("Reset my password?")


async def test_an_entry_that_is_gone_says_so(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        filled.entries.clear()
        await sluice.press("enter")
        await sluice.sees("It is not there any more")


async def test_the_demo_is_loaded_from_here_too(empty_api: StubApi) -> None:
    empty_api.demo = (entry_of("e-demo", "A demo question?", "A demo answer."),)
    async with running(empty_api) as sluice:
        await sluice.press("f3")
        await sluice.sees("No entries.")
        await sluice.press("l")
        await sluice.sees("A demo question?", "A demo answer.", "Demo FAQ: 1 new")


async def test_the_demo_comes_among_other_entries_only_when_that_is_wanted(filled: StubApi) -> None:
    filled.demo = (entry_of("e-demo", "A demo question?", "A demo answer."),)
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        await sluice.press("l")
        await sluice.sees("Load the demo FAQ into this one?")
        await sluice.press("enter")  # it stands on "no"
        await sluice.sees("Entries: 3")
        assert not filled.calls("POST", "/api/faq/demo")
        await sluice.press("l")
        await sluice.sees("Load the demo FAQ into this one?")
        await sluice.press("left", "enter")
        await sluice.sees("A demo question?", "Entries: 4")


async def test_it_works_at_eighty_columns(filled: StubApi) -> None:
    async with at_faq(filled, width=80) as sluice:
        await sluice.sees("Reset my password?", "忘记密码怎么办？", "published", "f1 Help")
        assert {cell_len(line) for line in sluice.lines} == {80}


async def test_the_filters_go_on_offering_what_they_hide(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        category = sluice.app.screen.query_one("#faq-category", Select)
        category.value = "account"
        await sluice.sees("Entries: 1")
        assert [value for _, value in category._options] == ["", "account", "office", "账户"]
        category.value = "office"
        await sluice.sees("Passwords of guests?")


async def test_a_search_in_a_category_asks_the_index_for_that_category(filled: StubApi) -> None:
    filled.matches = (match_of(filled, "Passwords of guests?", 0.9),)
    async with at_faq(filled) as sluice:
        await sluice.sees("Entries: 3")
        sluice.app.screen.query_one("#faq-category", Select).value = "office"
        sluice.app.screen.query_one("#faq-language", Select).value = "en"
        await sluice.sees("Entries: 1")
        await sluice.press("slash")
        await sluice.type("secret")
        await sluice.sees("Found: 1", "Passwords of guests?")
    asked = [
        (one.query["category"], one.query["language"]) for one in filled.asked if "q" in one.query
    ]
    assert set(asked) == {("office", "en")}


async def test_ten_thousand_entries_are_read_as_one_goes_and_sorted_whole(
    empty_api: StubApi,
) -> None:
    empty_api.entries = {
        f"e-{n}": entry_of(f"e-{n}", f"Question {9_999 - n:05}?", "Yes.", category=f"c{n % 7}")
        for n in range(10_000)
    }
    empty_api.entries["e-9999"] = entry_of("e-9999", "Question 00000?", "Yes.", category="rare")
    async with at_faq(empty_api) as sluice:
        await sluice.sees("Entries: 100 so far", "Question 09999?")
        assert not any("cursor" in one.query for one in empty_api.calls("GET", "/api/faq"))
        category = sluice.app.screen.query_one("#faq-category", Select)
        await sluice.until(lambda: "rare" in [value for _, value in category._options])
        await sluice.press("ctrl+end")
        await sluice.sees("Entries: 200 so far")
        await sluice.press("o")
        await sluice.sees("Entries: 10000", "Question 00000?")
        table = sluice.app.screen.query_one(FaqTable)
        assert table.row_count == SORTED_ROWS
        await sluice.press("ctrl+end")
        await sluice.until(lambda: table.row_count == 2 * SORTED_ROWS)


async def test_what_is_written_is_seen_as_it_will_be_read(filled: StubApi) -> None:
    async with at_faq(filled) as sluice:
        await sluice.sees("Reset my password?")
        await sluice.press("enter")
        await sluice.sees("Edit entry")
        editor = sluice.app.screen
        assert isinstance(editor, EntryEditor)
        editor.answer.set_text("Press **Reset**:\n\n- once\n- twice")
        await sluice.press("f10")
        await sluice.sees("As it will be read", "Press Reset:", "• once")
        await sluice.press("escape")
        await sluice.sees("Edit entry", "**Reset**")
        assert filled.calls("PUT", "/api/faq/e-1") == []
