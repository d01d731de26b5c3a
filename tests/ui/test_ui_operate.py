"""The operator's places: trends, models, people, logs."""

import msgspec
import pytest
from rich.text import Text
from stub_api import NOW_MS, StubApi, problem
from test_ui_places import busy_status
from textual.widgets import Sparkline
from ui_driver import running

from appliance.schema.logs import LogLevel, LogLine
from appliance.schema.people import TagDetail, User
from appliance.schema.status import Limit, ModelStatus, QueueStatus, QueueUser, Quota
from ui.screens import polled
from ui.screens.dialogs import Confirm
from ui.widgets.tables import RecordTable

pytestmark = pytest.mark.ui


@pytest.fixture
def operated(api: StubApi) -> StubApi:
    fill_for_operators(api)
    return api


def fill_for_operators(api: StubApi) -> None:
    """Something to see at every place of the operator."""
    queue = QueueStatus(
        waiting=3,
        running=2,
        capacity=8,
        bound=64,
        users=(
            QueueUser(uid="ana", waiting=2, running=1),
            QueueUser(uid="bo", waiting=1, running=1),
        ),
    )
    api.status = msgspec.structs.replace(busy_status(), queue=queue)
    api.models = {
        "chat-0.5b": ModelStatus(
            name="chat-0.5b",
            state="loaded",
            default=True,
            size_bytes=400_000_000,
            memory_bytes=700_000_000,
            notes={"en": "Short answers, anywhere.", "zh": "任何电脑都能运行。"},
        ),
        "big-7b": ModelStatus(name="big-7b", state="on_disk", size_bytes=4_700_000_000),
        "lost": ModelStatus(name="lost", state="absent", detail="run `pull`"),
    }
    api.users["ana"] = User(
        id="ana", attributes={"team": "sales"}, tags=("berlin", "销售"), version=3
    )
    api.quotas["ana"] = Quota(
        uid="ana",
        tier="gold",
        priority="person",
        weight=2,
        concurrency=3,
        limits=(
            Limit(
                name="tokens_per_day", limit=1000, used=300, reserved=100, left=600, reset_s=7200
            ),
        ),
    )
    said: tuple[tuple[LogLevel, str], ...] = (
        ("info", "the limiter leads"),
        ("warning", "a promise was broken"),
        ("error", "it broke\nTraceback"),
    )
    api.log = tuple(
        LogLine(
            number=n, at_ms=NOW_MS, level=level, logger="appliance.limiter.service", message=words
        )
        for n, (level, words) in enumerate(said, 1)
    )


async def test_the_load_is_drawn_as_it_goes(
    operated: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "REFRESH_S", 0.01)
    async with running(operated) as sluice:
        await sluice.press("f4")
        await sluice.sees("Tokens/s 31.4", "Running 2/8", "Waiting 3/64", "ana 2+1")
        queue = msgspec.structs.replace(operated.status.queue, waiting=9)
        operated.status = msgspec.structs.replace(operated.status, queue=queue)
        await sluice.sees("Waiting 9/64")
        assert list(sluice.app.screen.query(Sparkline).last().data or ())[-1] == 9


async def test_the_cache_of_a_worker_is_told(operated: StubApi) -> None:
    worker = msgspec.structs.replace(
        operated.status.workers[0],
        cache_tokens=8192,
        used_cells=2048,
        warm=("s-1", "s-2"),
        state="draining",
    )
    operated.status = msgspec.structs.replace(operated.status, workers=(worker,))
    async with running(operated) as sluice:
        await sluice.press("f4")
        await sluice.sees("25 %", "w0, draining")


async def test_models_are_listed_and_loaded_and_unloaded(operated: StubApi) -> None:
    async with running(operated) as sluice:
        await sluice.press("f5")
        await sluice.sees("Models: 3, loaded: 1, 700 MB", "not here", "on disk", "4.7 GB")
        await sluice.sees("Short answers, anywhere.", "It answers when no other is asked for.")
        await sluice.press("down", "l")
        await sluice.sees("loading, 0 %")
        assert len(operated.calls("POST", "/api/models/big-7b/load")) == 1
        await sluice.press("up", "u")
        await sluice.sees("Unload this model?", "chat-0.5b")
        await sluice.press("left", "enter")
        await sluice.sees("unloading")


async def test_weights_are_fetched_paused_and_gone_on_with(
    operated: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "REFRESH_S", 0.05)
    absent = ModelStatus(name="fitting-4b", state="absent")
    operated.models = {absent.name: absent, **operated.models}
    async with running(operated) as sluice:
        await sluice.press("f5")
        await sluice.sees("Its weights are not here: D fetches them", "d Download")
        await sluice.press("d")
        await sluice.sees("fitting-4b", "0 %", "p Pause")
        assert operated.setup is not None
        arrived = msgspec.structs.replace(
            operated.setup.download, done_bytes=1_000_000_000, percent=40
        )
        operated.setup = msgspec.structs.replace(operated.setup, download=arrived)
        await sluice.sees("40 %")
        await sluice.press("p")
        await sluice.until(lambda: operated.calls("POST", "/api/setup/download/pause"))
        await sluice.until(lambda: "paused" in sluice.text.casefold())
        await sluice.press("p")
        await sluice.until(lambda: len(operated.calls("POST", "/api/setup/download")) == 2)


async def test_a_model_in_use_is_not_unloaded_and_that_is_said(operated: StubApi) -> None:
    operated.overrides["POST", "/api/models/chat-0.5b/unload"] = problem(
        409, "conflict", "the model is in use", hint="wait for its answers"
    )
    async with running(operated) as sluice:
        await sluice.press("f5")
        await sluice.sees("Models: 3")
        await sluice.press("u")
        await sluice.until(lambda: isinstance(sluice.app.screen, Confirm))
        await sluice.press("left", "enter")
        await sluice.sees("the model is in use", "wait for its answers")


async def test_people_are_listed_with_tags_profile_and_limits(operated: StubApi) -> None:
    async with running(operated, width=120) as sluice:
        await sluice.press("f6")
        await sluice.sees("ana", "bo", "local")
        await sluice.sees("ana: tier gold, priority person, weight 2", "Tags: berlin, 销售")
        await sluice.sees("team: sales", "Tokens per day: 600 of 1000 left", "back in 2 h")
        await sluice.sees("At most 3 at a time")
        await sluice.press("down")
        await sluice.sees("bo: tier standard", "No tags.", "Nothing limits this person")


async def test_tags_are_changed(operated: StubApi) -> None:
    async with running(operated, width=120) as sluice:
        await sluice.press("f6")
        await sluice.sees("Tags: berlin")
        await sluice.press("t", "ctrl+u")
        await sluice.type("north,  销售 , north")
        await sluice.press("enter")
        await sluice.sees("Tags: 销售, north", "Tags saved")
        assert operated.users["ana"].tags == ("销售", "north")


async def test_tags_that_were_not_touched_stay_whose_they_are(operated: StubApi) -> None:
    details = (
        TagDetail(name="berlin", source="rule"),
        TagDetail(name="销售", source="job", at_ms=NOW_MS),
    )
    operated.users["ana"] = msgspec.structs.replace(operated.users["ana"], details=details)
    async with running(operated, width=120) as sluice:
        await sluice.press("f6")
        await sluice.sees("Tags: berlin (by a rule), 销售 (by past questions)")
        await sluice.press("t")
        await sluice.sees("Tags, separated by commas")
        await sluice.press("end")
        await sluice.type(", a/b")
        await sluice.press("enter")
        await sluice.sees("A tag has at most 64 characters, and no slash.")
        await sluice.press("t", "end")
        await sluice.type(", a b")
        await sluice.press("enter")
        await sluice.sees("a b")
        await sluice.until(lambda: "a b" in operated.users["ana"].tags)
        written = [one for one in operated.asked if one.method in ("PUT", "PATCH", "DELETE")]
        assert [(one.method, one.path) for one in written] == [("PUT", "/api/users/ana/tags/a%20b")]


async def test_of_whom_nothing_is_stored_that_is_said(operated: StubApi) -> None:
    operated.overrides["GET", "/api/users/ana"] = problem(404, "not_found", "no user ana")
    async with running(operated, width=120) as sluice:
        await sluice.press("f6")
        await sluice.sees("Nothing is stored about ana yet.")
        assert "no user" not in sluice.text


async def test_anybody_is_looked_up_by_id(operated: StubApi) -> None:
    operated.users["zoe"] = User(id="zoe", attributes={}, tags=("vip",), version=1)
    async with running(operated, width=120) as sluice:
        await sluice.press("f6")
        await sluice.sees("ana")
        await sluice.press("slash")
        await sluice.type("Zoe!")
        await sluice.press("enter")
        await sluice.sees("A user id has small letters")
        await sluice.press("ctrl+u")
        await sluice.type("zoe")
        await sluice.press("enter")
        await sluice.sees("zoe: tier standard", "Tags: vip")


async def test_logs_are_filtered_by_level_and_words_and_opened(operated: StubApi) -> None:
    async with running(operated, width=120) as sluice:
        await sluice.press("f7")
        await sluice.sees("Lines: 3, news and worse", "12:13:20", "the limiter leads")
        await sluice.press("enter")
        await sluice.sees("12:13:20  error", "Traceback")
        await sluice.press("escape", "v")
        await sluice.sees("Lines: 2, warnings and worse")
        await sluice.sees_no("the limiter leads")
        await sluice.press("slash")
        await sluice.type("promise")
        await sluice.sees("Lines: 1")
        await sluice.press("escape")
        await sluice.sees("Lines: 2")


async def test_new_log_lines_come_behind_those_that_were_read(
    operated: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "REFRESH_S", 0.1)
    async with running(operated, width=120) as sluice:
        await sluice.press("f7")
        await sluice.sees("Lines: 3", "the limiter leads")
        line = msgspec.structs.replace(operated.log[-1], number=99, message="one more line")
        operated.log = (*operated.log, line)
        await sluice.sees("Lines: 4", "the limiter leads", "one more line")
        last = operated.log[-2].number
        asked = [one.query["after"] for one in operated.calls("GET", "/api/logs")]
        assert str(last) in asked
        await sluice.until(lambda: operated.calls("GET", "/api/logs")[-1].query["after"] == "99")
        operated.log = (msgspec.structs.replace(line, number=1, message="a new process"),)
        await sluice.sees("Lines: 1", "a new process")


async def test_a_person_is_read_once_each_time_the_list_is(
    operated: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "REFRESH_S", 0.1)
    async with running(operated, width=120) as sluice:
        await sluice.press("f6")
        await sluice.sees("ana: tier gold")
        await sluice.until(lambda: len(operated.calls("GET", "/api/status")) >= 6)
        lists = len(operated.calls("GET", "/api/status"))
        assert len(operated.calls("GET", "/api/users/ana")) <= lists
        await sluice.press("down")
        await sluice.sees("bo: tier standard")


async def test_what_cannot_be_read_is_said_in_its_place(operated: StubApi) -> None:
    for path in ("/api/models", "/api/logs", "/api/status"):
        operated.overrides["GET", path] = problem(503, "unavailable", "the store is away")
    async with running(operated) as sluice:
        await sluice.sees("ready")
        for key in ("f5", "f6", "f7", "f4"):
            await sluice.press(key)
            await sluice.sees("Not current: A part of the server is away: the store is away")


async def test_the_places_speak_chinese_at_eighty_columns(operated: StubApi) -> None:
    async with running(operated, language="zh", width=80, height=24) as sluice:
        await sluice.sees("F2 对话", "F9 消息", "就绪")
        await sluice.press("f5")
        await sluice.sees("模型 3 个", "已加载", "未下载", "任何电脑都能运行。", "由它回答")
        await sluice.press("down", "down")
        await sluice.sees("尚未下载：按 D 下载，或用 `sluice models pull lost`。")
        assert "run" not in sluice.text
        await sluice.press("f6")
        await sluice.sees("标签：berlin", "每天词元")
        await sluice.press("f7")
        await sluice.sees("共 3 条")
        await sluice.press("f4")
        await sluice.sees("词元/秒 31.4", "等待中 3/64")


async def test_rows_that_were_drawn_before_they_were_measured_are_whole(
    operated: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled, "REFRESH_S", 3600.0)
    async with running(operated) as sluice:
        await sluice.press("f5")
        await sluice.sees("chat-0.5b")
        table = sluice.app.screen.query_one("#models", RecordTable)
        table.show([("a", (Text("a name longer than all others before"), *map(Text, "bcd")))])
        table.render_line(1)  # as when the screen is painted before Textual has measured the row
        await sluice.sees("a name longer than all others before")
