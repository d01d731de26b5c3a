"""Files of entries: the dry run line by line, the import with its progress, and the export."""

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from stub_api import NOW_MS, StubApi, problem
from test_ui_hostile import EVIL, SEEN, sees_clean
from ui_driver import Driven, running

from appliance.schema.curation import ImportJob, ImportOutcome, LineConflict, NearLine
from appliance.schema.faq import LineError
from ui.said import conflict_said, line_said
from ui.screens.faq_import import ImportScreen
from ui.widgets.plain import LineField

pytestmark = pytest.mark.ui

IMPORT = "/api/faq/import"
GOOD = ImportOutcome(created=5, updated=2, unchanged=3, dry_run=True)
LATE = LineConflict(line=4, id="e-1", kind="edited_since", message="e-1 was edited since")
BAD = ImportOutcome(
    created=1,
    updated=0,
    unchanged=0,
    dry_run=True,
    errors=(
        LineError(
            line=7,
            message="answer: nothing but white space",
            reason="blank_field",
            facts={"field": "answer"},
        ),
    ),
    conflicts=(
        LineConflict(line=2, id="e-2", kind="same_question", message="replaces the text of e-2"),
        LATE,
    ),
    duplicates=(
        NearLine(line=3, question="Parking?", id="e-1", other_question="Park where?", score=0.91),
        NearLine(line=5, question="Dogs?", other_line=6, other_question="A dog?", score=0.8),
    ),
    checked_lines=10,
)
STORED = ImportOutcome(created=5, updated=2, unchanged=3, import_id="i-1")


def job(indexed: int, *, is_done: bool = False) -> ImportJob:
    return ImportJob(
        created=5,
        updated=2,
        unchanged=3,
        id="i-1",
        form="csv",
        created_at_ms=NOW_MS,
        entries=7,
        indexed=indexed,
        state="done" if is_done else "indexing",
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "faq.csv"
    path.write_text("question,answer\nq,a\n")
    return path


@asynccontextmanager
async def looked_at(
    api: StubApi, path: Path | str, *, language: str = "en", width: int = 80, height: int = 24
) -> AsyncIterator[Driven]:
    """The report of a file; its path is put in, for a long one takes long to type."""
    async with running(api, language=language, width=width, height=height) as sluice:
        await open_file(sluice, path)
        yield sluice


async def open_file(sluice: Driven, path: Path | str) -> None:
    words = sluice.texts.curate
    await sluice.sees(sluice.texts.link_up)
    await sluice.press("f3")
    await sluice.sees("What is this?", f"i {words.key_import}")
    await sluice.press("i")
    await sluice.sees(words.import_hint)
    sluice.app.screen.query_one("#import-path", LineField).set_text(str(path))
    await sluice.press("enter")


async def test_a_path_that_was_dragged_into_the_terminal_stands_in_quotes(
    api: StubApi, file: Path
) -> None:
    api.curation.rehearsed = BAD
    async with looked_at(api, f"'{file}' ") as sluice:
        await sluice.sees(sluice.texts.curate.import_mend)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_dry_run_tells_every_line_and_a_bad_file_is_not_offered(
    api: StubApi, file: Path, language: str
) -> None:
    api.curation.rehearsed = BAD
    async with looked_at(api, file, language=language) as sluice:
        words = sluice.texts.curate
        texts = sluice.texts
        await sluice.sees(line_said(texts, BAD.errors[0]), conflict_said(texts, LATE))
        await sluice.sees(words.import_error, words.import_same_question, words.import_near)
        await sluice.sees(words.import_mend)
        await sluice.press("down", "down", "down")
        await sluice.sees(words.import_at.format(line=3, kind=words.import_near))
        (asked,) = api.calls("POST", IMPORT)
        assert asked.query == {"dry_run": "true"}
        assert asked.headers["content-type"] == "text/csv"
        assert asked.body == file.read_bytes()
        await sluice.press("ctrl+s")
        assert len(api.calls("POST", IMPORT)) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_what_was_looked_at_is_imported_and_the_way_is_told(
    api: StubApi, file: Path, language: str
) -> None:
    api.curation.rehearsed, api.curation.imported = GOOD, STORED
    api.add_stream("i-1")
    async with looked_at(api, file, language=language) as sluice:
        words = sluice.texts.curate
        await sluice.sees(words.import_ready, words.key_import_file)
        looked_at_bytes = file.read_bytes()
        file.write_text("something else")
        await sluice.press("ctrl+s")
        counts = words.import_done.format(created=5, updated=2, unchanged=3)
        await sluice.sees(counts)
        api.tell_import(job(3))
        await sluice.sees(words.import_found.format(done=3, count=7))
        api.tell_import(job(7, is_done=True))
        await sluice.sees(words.import_found.format(done=7, count=7))
        asked = api.calls("POST", IMPORT)[-1]
        assert asked.query == {"wait": "false", "overwrite": "false"}
        assert asked.body == looked_at_bytes
        reads = len(api.calls("GET", "/api/faq"))
        await sluice.press("escape")
        await sluice.until(lambda: len(api.calls("GET", "/api/faq")) > reads)


async def test_a_file_older_than_an_edit_goes_first_only_when_that_is_wanted(
    api: StubApi, file: Path
) -> None:
    late = ImportOutcome(created=0, updated=1, unchanged=0, dry_run=True, conflicts=(LATE,))
    api.curation.rehearsed = late
    api.curation.imported = ImportOutcome(created=0, updated=1, unchanged=0)
    async with looked_at(api, file) as sluice:
        await sluice.sees("Nothing is stored yet")
        await sluice.press("ctrl+s")
        await sluice.sees("Replace newer edits?", "exported: 1.")
        await sluice.press("enter")
        await sluice.until(lambda: isinstance(sluice.app.screen, ImportScreen))
        assert len(api.calls("POST", IMPORT)) == 1
        await sluice.press("ctrl+s")
        await sluice.sees("Replace newer edits?")
        await sluice.press("left", "enter")
        await sluice.sees("Imported. New: 0, changed: 1")
        assert api.calls("POST", IMPORT)[-1].query["overwrite"] == "true"


async def test_an_edit_after_the_look_is_asked_about_too(api: StubApi, file: Path) -> None:
    api.curation.rehearsed = GOOD
    async with looked_at(api, file) as sluice:
        await sluice.sees("Nothing is stored yet")
        api.overrides["POST", IMPORT] = problem(
            409, "conflict", "line 4: e-1 was edited since", reason="edited_since"
        )
        await sluice.press("ctrl+s")
        await sluice.sees("Replace newer edits?", "meanwhile")
        await sluice.press("escape")
        await sluice.sees("line 4: e-1 was edited since")


async def test_failures_and_files_that_are_none_are_told(api: StubApi, tmp_path: Path) -> None:
    async with looked_at(api, tmp_path / "faq.csv") as sluice:
        await sluice.sees("There is no such file")
        (tmp_path / "dir.csv").mkdir()
        good = tmp_path / "good.md"
        good.write_text("# q")
        api.overrides["POST", IMPORT] = problem(413, "invalid", "the body is larger", hint="less")
        field = sluice.app.screen.query_one("#import-path", LineField)
        for name, said in [
            ("faq.doc", ".doc"),
            ("dir.csv", "This cannot be read as a file"),
            ("good.md", "the body is larger"),
        ]:
            field.set_text(str(tmp_path / name))
            field.focus()
            await sluice.press("enter")
            await sluice.sees(said)


async def test_changing_the_path_forgets_what_was_looked_at(api: StubApi, file: Path) -> None:
    api.curation.rehearsed = GOOD
    async with looked_at(api, file) as sluice:
        await sluice.sees("^s Import")
        await sluice.press("x")
        await sluice.sees_no("^s Import")
        await sluice.press("ctrl+s")
        assert len(api.calls("POST", IMPORT)) == 1


async def test_text_from_outside_stays_text(api: StubApi, file: Path) -> None:
    api.curation.rehearsed = ImportOutcome(
        created=0,
        updated=0,
        unchanged=0,
        dry_run=True,
        errors=(LineError(line=1, message=EVIL),),
        duplicates=(NearLine(line=2, question=EVIL, other_question=EVIL, score=0.9),),
    )
    async with looked_at(api, file, width=120) as sluice:
        await sees_clean(sluice, SEEN, f"“{SEEN}")


async def test_every_entry_is_written_into_a_new_file(api: StubApi, tmp_path: Path) -> None:
    api.curation.exported = b'{"question":"q","answer":"a"}\n' * 1000
    path = tmp_path / "out.jsonl"

    async def export(sluice: Driven, to: Path) -> None:
        await sluice.press("x")
        await sluice.sees("Export all entries")
        sluice.app.screen.query_one("#line", LineField).set_text(str(to))
        await sluice.press("enter")

    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("x Export")
        await export(sluice, path)
        await sluice.sees("Written:")
        assert path.read_bytes() == api.curation.exported
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert api.calls("GET", "/api/faq/export")[-1].query == {"format": "jsonl"}
        await export(sluice, path)
        await sluice.sees("That file exists already.")
        await export(sluice, tmp_path / "out.pdf")
        await sluice.sees("The ending is not known.")
        broken = tmp_path / "broken.csv"
        api.overrides["GET", "/api/faq/export"] = problem(503, "unavailable", "gone")
        await export(sluice, broken)
        await sluice.sees("gone")
        assert not broken.exists()
