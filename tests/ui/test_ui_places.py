"""Status, help, themes, and moving between the places."""

import msgspec
import pytest
from stub_api import KEY, StubApi, problem
from ui_driver import running, until

from appliance.schema.status import Alarm, ChildStatus, FaqStatus, QueueStatus, Status, WorkerStatus
from ui.app import SluiceApp, Theme
from ui.client import Client
from ui.keys import ours
from ui.screens import polled
from ui.screens.chat import ChatScreen
from ui.texts import texts_for
from ui.widgets.top_bar import Banner, Tab

pytestmark = pytest.mark.ui


def busy_status() -> Status:
    return Status(
        version="0.1.0",
        uptime_s=8000,
        ready=True,
        children=(
            ChildStatus(
                name="valkey",
                state="ready",
                pid=4211,
                restarts=0,
                uptime_s=7999,
                detail="",
                rss_bytes=15_000_000,
            ),
            ChildStatus(
                name="worker-0",
                state="backing_off",
                pid=None,
                restarts=3,
                uptime_s=0,
                detail="out of memory",
                rss_bytes=0,
            ),
        ),
        workers=(
            WorkerStatus(
                id="w0",
                engine="llama.cpp",
                model="chat-0.5b",
                embedding_model="e5-small",
                device="CPU",
                slots=8,
                busy=2,
                context_tokens=8192,
                tokens_per_s=31.4,
                embedding_size=384,
                pid=4213,
            ),
        ),
        queue=QueueStatus(waiting=3, running=2, capacity=8, bound=64),
        faq=FaqStatus(entries=128, phrasings=512, indexed=False, detail="rebuilding"),
        sessions_following=2,
    )


async def test_status_shows_processes_workers_queue_and_index(api: StubApi) -> None:
    api.status = busy_status()
    async with running(api) as sluice:
        await sluice.press("f4")
        await sluice.sees("valkey", "4211", "15 MB", "worker-0", "waiting to restart")
        await sluice.sees("out of memory", "w0", "2/8", "31.4", "chat-0.5b")
        await sluice.sees("Queue: 3 waiting (at most 64), 2 of 8 running")
        await sluice.sees("FAQ: 128 entries, 512 phrasings, index not up to date (rebuilding)")


@pytest.mark.parametrize(
    ("language", "title"), [("en", "The GPU's driver is missing"), ("zh", "缺少 GPU 驱动程序")]
)
async def test_an_alarm_stands_above_everything_else(
    api: StubApi, language: str, title: str
) -> None:
    alarm = Alarm(code="gpu_driver_missing", message="no \x1b[31mdriver", hint="install it")
    api.status = msgspec.structs.replace(busy_status(), alarms=(alarm,))
    async with running(api, language=language) as sluice:
        await sluice.press("f4")
        await sluice.sees(title, "no driver", "install it")
        api.status = busy_status()
        await sluice.press("r")
        await sluice.until(lambda: not sluice.app.screen.query_one(".status-alarms").display)


async def test_status_is_not_read_before_it_is_seen_and_again_on_request(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        assert api.calls("GET", "/api/status") == []
        await sluice.press("f4")
        await sluice.sees("0 of 4 running")
        api.status = msgspec.structs.replace(api.status, ready=False)
        await sluice.press("r")
        await sluice.sees("not ready")


async def test_status_is_read_on_and_on_only_while_it_is_seen(
    api: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "REFRESH_S", 0.01)
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f4")
        await sluice.until(lambda: len(api.calls("GET", "/api/status")) > 5)
        await sluice.press("f2")
        await sluice.sees("Ask a question.")
        count = len(api.calls("GET", "/api/status"))
        await sluice.press("f1")
        await sluice.sees("Everywhere")
        await sluice.press("escape")
        await sluice.sees("Ask a question.")
        assert len(api.calls("GET", "/api/status")) == count


async def test_a_status_that_cannot_be_read_says_why(api: StubApi) -> None:
    api.overrides["GET", "/api/status"] = problem(500, "internal", "it broke")
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f4")
        await sluice.sees("Not current: The server made a mistake: it broke")


async def test_a_starting_server_is_waited_for(api: StubApi) -> None:
    api.down()
    async with running(api) as sluice:
        await sluice.sees("Waiting for the server at", "sluice serve")
        await sluice.type("typed while waiting")
        api.is_ready, api.checks = False, {"worker": "loading the model"}
        api.add_session("From before")
        api.up()
        await sluice.sees("Not ready yet: worker: loading the model", "From before")
        api.is_ready = True
        await sluice.sees("● ready", "typed while waiting")
        await sluice.sees_no("Not ready yet")


async def test_a_place_opened_later_shows_the_link_as_it_is_from_the_start(
    api: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        shown = []
        monkeypatch.setattr(Banner, "show", lambda banner, state: shown.append(state.kind))
        await sluice.press("f3")
        await sluice.sees("What is this?", "● ready")
        assert set(shown) == {"up"}


async def test_a_refused_key_is_said_and_not_tried_again(api: StubApi) -> None:
    api.overrides["GET", "/readyz"] = problem(401, "unauthorized", "no")
    async with running(api) as sluice:
        await sluice.sees("The server does not accept this key", "● refused")
        assert len(api.calls("GET", "/readyz")) == 1


async def test_an_expired_key_is_told_from_a_wrong_one(api: StubApi) -> None:
    expired = problem(401, "unauthorized", "this key has expired", reason="key_expired")
    api.overrides["GET", "/readyz"] = expired
    async with running(api) as sluice:
        await sluice.sees("This key has expired", "start again with a new one", "● refused")


async def test_help_lists_every_key_of_ours(api: StubApi) -> None:
    async with running(api, height=80) as sluice:
        await sluice.sees("ready")
        await sluice.press("f1")
        for binding in ours(ChatScreen.BINDINGS):
            await sluice.sees(sluice.texts.word(binding.tooltip)[:40])
        await sluice.press("escape")
        await sluice.sees("Ask a question.")


async def test_tabs_lead_where_they_say(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        for place, words in ((1, "Entries: 1"), (2, "Processes"), (0, "Ask a question.")):
            await sluice.pilot.click(sluice.app.screen.query(Tab)[place])
            await sluice.sees(words)


async def test_a_theme_is_kept_for_the_next_start(api: StubApi) -> None:
    kept: list[str] = []
    client = Client(api.url, KEY)
    app = SluiceApp(client, texts_for("en"), theme=Theme("light", kept.append))
    try:
        async with app.run_test() as pilot:
            assert not app.current_theme.dark
            await pilot.press("f8")
            await until(pilot, lambda: kept == ["dark"])
            assert app.current_theme.dark
    finally:
        await client.close()


async def test_the_theme_switches_and_stays_with_every_place(api: StubApi) -> None:
    async with running(api) as sluice:
        assert sluice.app.current_theme.dark
        await sluice.press("f8", "f3")
        assert not sluice.app.current_theme.dark
        await sluice.press("f8")
        assert sluice.app.current_theme.dark


async def test_tab_goes_through_list_conversation_and_prompt(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        order = []
        for _ in range(4):
            assert sluice.app.focused is not None
            order.append(sluice.app.focused.id)
            await sluice.press("tab")
        assert order == ["prompt", "sessions", "conversation", "prompt"]


async def test_a_narrow_terminal_gives_its_room_to_the_conversation(api: StubApi) -> None:
    api.add_session("Hidden one")
    async with running(api, width=60, height=20) as sluice:
        await sluice.sees("ready", "Ask a question.")
        assert "Hidden one" not in sluice.text
        await sluice.pilot.resize_terminal(80, 24)
        await sluice.sees("Hidden one")


async def test_everything_is_said_in_chinese(api: StubApi) -> None:
    async with running(api, language="zh", width=80, height=24) as sluice:
        await sluice.sees("就绪", "请提问", "发送", "换行")
        await sluice.press("f3")
        await sluice.sees("共 1 条", "已发布", "新增")
        await sluice.press("f4")
        await sluice.sees("进程", "工作进程", "刷新")
        await sluice.press("f1")
        await sluice.sees("通用", "发送问题", "关闭")


async def test_quitting_takes_one_key(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("ctrl+c")
        await sluice.sees("Ctrl+Q")
        await sluice.press("ctrl+q")
        assert sluice.app.return_value == 0
