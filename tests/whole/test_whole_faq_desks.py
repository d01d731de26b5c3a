"""The terminal UI's FAQ against the real appliance: what it writes there, and what comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Running
from textual.pilot import Pilot

from ui.app import SluiceApp
from ui.client import Client
from ui.texts import texts_for
from ui.widgets.plain import LineField

pytestmark = pytest.mark.integration

DEADLINE_S = 60.0
ENGLISH = texts_for("en")


@dataclass
class Seen:
    """The app as a person sees it."""

    app: SluiceApp
    pilot: Pilot[int]

    @property
    def text(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def until(self, is_true: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not is_true():
                await self.pilot.pause()

    async def sees(self, *parts: str) -> None:
        try:
            await self.until(lambda: all(part in self.text for part in parts))
        except TimeoutError:
            raise AssertionError(f"not on the screen: {parts}\n{self.text}") from None

    async def type(self, text: str) -> None:
        names = {" ": "space", "?": "question_mark", "/": "slash", ".": "full_stop"}
        await self.pilot.press(*(names.get(character, character) for character in text))


@asynccontextmanager
async def at_faq(appliance: Running) -> AsyncIterator[Seen]:
    with appliance.client() as http:  # nobody asks the first start's questions
        assert http.put("/api/setup", json={"done": True}).status_code == 200
    client = Client(appliance.url, appliance.key)
    app = SluiceApp(client, ENGLISH)
    try:
        async with app.run_test(size=(110, 40), notifications=True) as pilot:
            seen = Seen(app, pilot)
            await seen.sees(ENGLISH.link_up)
            await pilot.press("f3")
            await seen.sees(ENGLISH.curate.key_misses)
            yield seen
    finally:
        await client.close()


async def test_a_missed_question_becomes_an_entry_and_who_asked_is_told(
    appliance: Running,
) -> None:
    question = "Where may bicycles be left overnight?"
    session = await asyncio.to_thread(appliance.session, "ana")
    await asyncio.to_thread(appliance.answer, question, session)
    async with at_faq(appliance) as seen:
        await seen.pilot.press("m")
        await seen.sees(ENGLISH.curate.miss_title_open, f"ana: {question}")
        await seen.pilot.press("p")
        await seen.sees(ENGLISH.curate.draft_done)
        await seen.pilot.press("ctrl+s")
        await seen.sees("Saved. Those who asked are told: 1")
        await seen.pilot.press("escape")
        await seen.sees(question)
    with appliance.client() as client:
        (entry,) = client.get("/api/faq").json()["items"]
        assert entry["question"] == question
        assert entry["answer"]
        (message,) = client.get("/api/users/ana/inbox").json()["items"]
        assert (message["kind"], message["entry_id"]) == ("answer_found", entry["id"])


async def test_a_saved_question_is_asked_now_and_tells_how_it_did(appliance: Running) -> None:
    body = {"question": "When is the pool open?", "answer": "From seven to nine."}
    with appliance.client() as client:
        entry = client.post("/api/faq", json=body).json()
    async with at_faq(appliance) as seen:
        await seen.pilot.press("g", "a")
        await seen.sees(ENGLISH.curate.check_add_title)
        await seen.type("When is the pool open?")
        await seen.pilot.press("enter")
        await seen.sees(ENGLISH.curate.check_pick_no_entry)
        await seen.pilot.press("enter")
        await seen.sees(ENGLISH.curate.check_saved_passed)
        await seen.pilot.press("r")
        await seen.sees("All were asked. Passed: 1, failed: 0")
    with appliance.client() as client:
        (saved,) = client.get("/api/faq/regressions").json()["items"]
        assert (saved["entry_id"], saved["outcome"]["passed"]) == (entry["id"], True)


async def test_a_file_is_looked_at_then_imported_and_comes_back_as_an_export(
    appliance: Running, tmp_path: Path
) -> None:
    words = ENGLISH.curate
    path, back = tmp_path / "in.csv", tmp_path / "out.jsonl"
    path.write_text("question,answer\nWhere is the sauna?,In the cellar.\nNo answer?,\n")
    async with at_faq(appliance) as seen:
        await seen.pilot.press("i")
        await seen.sees(words.import_hint)
        seen.app.screen.query_one("#import-path", LineField).set_text(str(path))
        await seen.pilot.press("enter")
        await seen.sees("Errors: 1", words.import_mend)
        path.write_text("question,answer\nWhere is the sauna?,In the cellar.\n")
        seen.app.screen.query_one("#import-path", LineField).focus()
        await seen.pilot.press("enter")
        await seen.sees("New: 1", words.import_ready)
        await seen.pilot.press("ctrl+s")
        await seen.sees(words.import_found.format(done=1, count=1))
        await seen.pilot.press("escape")
        await seen.sees("Where is the sauna?")
        await seen.pilot.press("x")
        await seen.sees(words.export_title)
        seen.app.screen.query_one("#line", LineField).set_text(str(back))
        await seen.pilot.press("enter")
        await seen.until(back.exists)
        await seen.sees("Written")
    assert '"answer":"In the cellar."' in back.read_text()
