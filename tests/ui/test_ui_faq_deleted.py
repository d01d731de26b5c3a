"""Deleted entries: read, brought back, and what is said when that is not possible."""

import msgspec
import pytest
from stub_api import NOW_MS, StubApi, entry_of, problem
from test_ui_hostile import EVIL, SEEN, sees_clean
from ui_driver import running

from appliance.schema.curation import DeletedEntry, RestorePost

pytestmark = pytest.mark.ui

RESTORE = "/api/faq/e-pool/restore"


def add_deleted(api: StubApi, entry_id: str, question: str, answer: str, version: int) -> None:
    fields = msgspec.structs.asdict(entry_of(entry_id, question, answer, version=version))
    api.curation.deleted[entry_id] = DeletedEntry(**fields, deleted_at_ms=NOW_MS)


def fill_with_deleted(api: StubApi) -> None:
    add_deleted(api, "e-pool", "Where is the pool?", "Behind the house.", 4)
    add_deleted(api, "e-gym", "健身房在哪里？", "地下一层。", 1)


@pytest.fixture
def remembered(api: StubApi) -> StubApi:
    fill_with_deleted(api)
    return api


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_deleted_entry_is_read_and_comes_back(remembered: StubApi, language: str) -> None:
    async with running(remembered, language=language, width=80, height=24) as sluice:
        words = sluice.texts.curate
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3")
        await sluice.sees("What is this?", f"u {words.key_deleted}")
        await sluice.press("u")
        await sluice.sees(words.deleted_title, words.deleted_count.format(count=2))
        await sluice.sees("Behind the house.", "健身房在哪里？", words.key_bring_back)
        await sluice.press("r")
        back = words.deleted_back.format(version=5, question="Where is the pool?")
        await sluice.sees(back, "地下一层。")
        (asked,) = remembered.calls("POST", RESTORE)
        assert msgspec.json.decode(asked.body, type=RestorePost) == RestorePost(version=4)
        assert asked.headers["if-match"] == '"4"'
        await sluice.press("enter")
        await sluice.sees(words.deleted_back.format(version=2, question="健身房在哪里？"))
        await sluice.press("escape")
        await sluice.sees("Where is the pool?", "健身房在哪里？", "What is this?")


async def test_somebody_elses_change_is_told_and_the_list_read_again(
    remembered: StubApi,
) -> None:
    async with running(remembered) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "u")
        await sluice.sees("Behind the house.")
        del remembered.curation.deleted["e-pool"]
        remembered.overrides["POST", RESTORE] = problem(
            409, "conflict", "at version 5, not 4", reason="edited_since"
        )
        await sluice.press("r")
        await sluice.sees("Not brought back: somebody else changed the entry")
        await sluice.sees_no("Where is the pool?")


async def test_a_full_faq_says_so_and_the_entry_stays(remembered: StubApi) -> None:
    remembered.overrides["POST", RESTORE] = problem(
        400, "invalid", "the FAQ holds at most 1 entries", hint="delete some"
    )
    async with running(remembered) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "u")
        await sluice.sees("Behind the house.")
        await sluice.press("r")
        await sluice.sees("the FAQ holds at most 1 entries", "delete some", "Where is the pool?")


async def test_nothing_deleted_is_said_and_text_from_outside_stays_text(api: StubApi) -> None:
    async with running(api, width=120) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "u")
        await sluice.sees("No deleted entry is remembered.")
        add_deleted(api, "e-evil", EVIL, EVIL, 1)
        await sluice.press("ctrl+r")
        await sees_clean(sluice, "Entries: 1", SEEN)
