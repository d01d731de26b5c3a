"""Pictures of what an operator meets: a first start without models, and messages that wait.

After a wanted change: `pytest tests/ui/test_ui_pictures_operator.py --snapshot-update`, and look.
"""

import msgspec
import pytest
from stub_api import NOW_MS, StubApi, scheduled, setup_now
from syrupy.assertion import SnapshotAssertion
from test_ui_messages import HOUR_MS, open_desk
from test_ui_setup_lacking import arriving, bare, to_models
from ui_driver import running
from ui_gallery import gallery_of

from appliance.schema.setup import DownloadStatus
from ui.screens import setup_model
from ui.setup_wording import download_line
from ui.texts import Texts

__all__ = ["bare"]

pytestmark = pytest.mark.ui

LANGUAGES = pytest.mark.parametrize("language", ["en", "zh"])
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["small", "large"])
NO_ROUTE = DownloadStatus(
    name="fitting-4b",
    state="failed",
    message="files.example cannot be reached",
    hint="check the network and start the download again",
    reason="download",
    facts={"host": "files.example"},
)
LEFT_S = 95.0


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock says, a download has the same time left."""

    def line(texts: Texts, download: DownloadStatus, left_s: float | None) -> str:
        return download_line(texts, download, None if left_s is None else LEFT_S)

    monkeypatch.setattr(setup_model, "download_line", line)


@LANGUAGES
@SIZES
@pytest.mark.usefixtures("steady")
async def test_a_first_start_without_models(
    bare: StubApi, snapshot: SnapshotAssertion, language: str, size: tuple[int, int]
) -> None:
    async with running(bare, language=language, width=size[0], height=size[1]) as sluice:
        gallery, words = gallery_of(sluice, snapshot), sluice.texts.setup
        await to_models(sluice)
        await gallery.shows("choosing", f"★ {words.model_absent}")
        await sluice.press("enter")
        await sluice.sees("0 %")
        setup_now(
            bare, lacking=("fitting-4b", "embedder"), download=arriving("fitting-4b", "running", 40)
        )
        await gallery.shows("downloading", "40 %")
        setup_now(bare, download=arriving("fitting-4b", "paused", 40))
        paused = words.download_paused.format(name="fitting-4b", percent=40)
        await gallery.shows("paused", paused[:20])
        setup_now(bare, settled=True, download=NO_ROUTE)
        await gallery.shows(
            "failed", words.download_failed.format(name="fitting-4b", reason="")[:20]
        )
        bare.checks["models"] = "fitting-4b was not downloaded: No route.; the operator goes on"
        await sluice.press("f2")
        told = words.banner_failed if language == "en" else words.banner_failed_why
        await gallery.shows("chat", told.format(name="fitting-4b", reason="No route.")[:40])
        assert gallery.wrong == []


@LANGUAGES
@SIZES
async def test_messages_that_wait(
    api: StubApi, snapshot: SnapshotAssertion, language: str, size: tuple[int, int]
) -> None:
    lift = scheduled("m-a", "The lift is serviced at noon.", NOW_MS + HOUR_MS)
    card = scheduled("m-b", "门禁卡明天更换。", NOW_MS + 30 * HOUR_MS, urgent=True)
    async with running(api, language=language, width=size[0], height=size[1]) as sluice:
        gallery, words = gallery_of(sluice, snapshot), sluice.texts.messages
        await open_desk(sluice)
        await gallery.shows("none", words.key_write_message)
        api.scheduled |= {one.id: msgspec.structs.replace(one) for one in (lift, card)}
        await sluice.press("ctrl+r")
        await gallery.shows("two", lift.text[:20], words.key_withdraw_message)
        await sluice.press("a")
        await sluice.type(card.text)
        await gallery.shows("writing", card.text)
        assert gallery.wrong == []
