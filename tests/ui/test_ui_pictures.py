"""Pictures of a conversation and of what opens over it, in both languages and two sizes.

One app is walked through all of its states, so a picture costs little. After a wanted change:
`pytest tests/ui/test_ui_pictures.py --snapshot-update`, and look.
"""

from typing import Final

import pytest
from stub_api import NOW_MS, StubApi
from syrupy.assertion import SnapshotAssertion
from ui_driver import running
from ui_gallery import Gallery, gallery_of

from appliance.schema.answers import Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import (
    Admitted,
    Delta,
    Done,
    Failed,
    Received,
    Refused,
    Retrieved,
    Waiting,
)
from appliance.schema.inbox import InboxMessage, MessageKind

pytestmark = pytest.mark.ui

ASKED: Final = {"en": "How do I reset my password?", "zh": "忘记密码怎么办？"}
BEGUN: Final = {
    "en": "To reset your password [1]:\n\n1. Open **Settings** and choose *Account*.\n",
    "zh": "重置密码的步骤 [1]：\n\n1. 打开**设置**，选择*账户*。\n",
}
ENDED: Final = {
    "en": "2. Press `Reset`, type the code [2].\n\n| Step | Time |\n|---|---|\n| Reset | 1 min |\n",
    "zh": "2. 点击 `重置` 并输入验证码 [2]。\n\n| 步骤 | 用时 |\n|---|---|\n| 重置 | 1 分钟 |\n",
}
FOUND: Final = {
    "en": ("How do I reset my password?", "Where does the code for a new password come from?"),
    "zh": ("忘记密码怎么办？", "重置密码的验证码发到哪里？有效期多长？"),
}
LETTERS: Final = {
    "en": ("Pay slips", "The pay slips of May are there.", "Is there a car park?"),
    "zh": ("工资单", "五月的工资单已经可以下载。", "公司有停车场吗？"),
}
DONE: Final = Done(
    finish_reason="stop",
    model="m",
    usage=Usage(completion_tokens=182),
    timings=Timings(first_token_ms=720, tokens_per_s=24.13),
)


def matches(language: str) -> tuple[Match, ...]:
    return tuple(
        Match(
            id=f"e-{number}",
            question=question,
            phrasing=question,
            answer="",
            category="",
            language=language,
            score=0.93 - number / 20,
        )
        for number, question in enumerate(FOUND[language])
    )


def fill(api: StubApi, language: str) -> None:
    turn = Turn(
        id="r-old", created_at_ms=NOW_MS, question=ASKED[language], answer="…", state="done"
    )
    api.add_session("Password reset", turn, minutes_ago=3)
    api.add_session("报销流程与发票要求说明以及常见问题", minutes_ago=55)
    api.add_session("VPN from home, with a title that does not fit", minutes_ago=60 * 30)
    title, text, question = LETTERS[language]
    kinds: tuple[tuple[MessageKind, str, str], ...] = (
        ("message", title, text),
        ("answer_ready", "", ASKED[language]),
        ("question_waiting", "", question),
        ("answer_found", "", question),
    )
    api.inbox = {
        f"m-{number}": InboxMessage(
            id=f"m-{number}",
            title=told,
            text=said,
            sender="payroll",
            sent_at_ms=NOW_MS - number * 60_000,
            expires_at_ms=NOW_MS * 2,
            kind=kind,
            read=number == 3,
        )
        for number, (kind, told, said) in enumerate(kinds)
    }


async def converse(gallery: Gallery, language: str) -> None:
    """From the place in the queue to the ends of a turn, good and bad."""
    sluice, texts = gallery.sluice, gallery.sluice.texts
    request_id = await sluice.ask(ASKED[language])
    received = Received(request_id=request_id, session_id="s", created_at_ms=NOW_MS)
    sluice.api.emit(request_id, received, Waiting(place=3, eta_s=12.2))
    await gallery.shows("waiting", "12")
    found = Retrieved(matches=matches(language), decision="compose")
    sluice.api.emit(request_id, Admitted(waited_ms=3), found, Delta(text=BEGUN[language]))
    await gallery.shows("streaming", texts.turn_answering, FOUND[language][1][:12])
    sluice.api.emit(request_id, Delta(text=ENDED[language]), DONE)
    await gallery.shows("answered", "24.1", "│")
    request_id = await sluice.ask(ASKED[language])
    guess = Retrieved(matches=matches(language), decision="did_you_mean")
    sluice.api.emit(request_id, guess, Delta(text="…"), DONE)
    await gallery.shows("did_you_mean", "→", FOUND[language][1][:12])
    full = Refused(reason="queue_full", message="the queue is full", retry_after_s=12)
    sluice.api.emit(await sluice.ask(ASKED[language]), full)
    await gallery.shows("refused", texts.turn_refused)
    lost = Failed(
        code="internal",
        reason="worker_lost",
        message="2 workers died while answering this request",
        hint="ask differently",
    )
    slow = Retrieved(
        matches=(),
        degraded="the FAQ index is starting",
        degraded_reason="index_starting",
        decision="compose",
    )
    sluice.api.emit(await sluice.ask(ASKED[language]), slow, lost)
    await gallery.shows("failed", texts.turn_failed)


async def look_around(gallery: Gallery, language: str) -> None:
    """What opens over a conversation, and the inbox."""
    sluice, texts = gallery.sluice, gallery.sluice.texts
    await sluice.press("ctrl+f")
    await sluice.type(ASKED[language][:4])
    await gallery.shows("find", texts.chat.find_found.format(count=5))
    await sluice.press("escape", "ctrl+p")
    await gallery.shows("palette", texts.tip_new_session)
    await sluice.press("escape", "f1")
    await gallery.shows("help", texts.help_everywhere)
    await sluice.press("escape", "f9")
    await gallery.shows("inbox", LETTERS[language][0])


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["small", "large"])
async def test_a_conversation_and_what_opens_over_it(
    api: StubApi, snapshot: SnapshotAssertion, language: str, size: tuple[int, int]
) -> None:
    fill(api, language)
    async with running(api, language=language, width=size[0], height=size[1]) as sluice:
        gallery = gallery_of(sluice, snapshot)
        await sluice.sees(sluice.texts.link_up)
        await gallery.shows("empty", "Password")
        await converse(gallery, language)
        await look_around(gallery, language)
        assert gallery.wrong == []
