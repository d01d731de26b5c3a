"""The client over a real loopback port: calls, errors, and following through broken lines."""

import asyncio
import ssl
from contextlib import aclosing
from pathlib import Path

import pytest
from conftest import Pauses
from stub_api import KEY, NOW_MS, StubApi, problem

from appliance.errors import (
    Conflict,
    Invalid,
    NotFound,
    Overloaded,
    SluiceError,
    Unauthorized,
    Unavailable,
)
from appliance.schema.answers import Timings, Usage
from appliance.schema.events import Admitted, Cancelled, Delta, Done, Event, Received, Waiting
from appliance.schema.faq import EntryPut
from appliance.schema.requests import MessagePost
from appliance.schema.status import Status
from ui.answers import UNREACHABLE, UNSAFE
from ui.client import (
    BACKOFF_MAX_S,
    CONNECTIONS_MAX,
    RECONNECTS_MAX,
    Client,
    Interrupted,
    News,
    Resumed,
    backoff_s,
)
from ui.link import Link, LinkState
from ui.texts import texts_for
from ui.wording import link_banner

pytestmark = pytest.mark.ui

DONE = Done(finish_reason="stop", model="m", usage=Usage(), timings=Timings())
RECEIVED = Received(request_id="r", session_id="s", created_at_ms=NOW_MS)


async def asked(client: Client, api: StubApi) -> str:
    session = await client.create_session()
    accepted = await client.send(session.id, MessagePost(text="Hello?"))
    return accepted.request_id


def events(news: list[News]) -> list[Event]:
    return [item for item in news if not isinstance(item, Interrupted | Resumed)]


class Heard:
    """Follows a request and keeps what came; `got` waits for a number of events."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self._came = asyncio.Condition()

    async def follow(self, client: Client, request_id: str) -> None:
        async with aclosing(client.follow(request_id)) as stream:
            async for news in stream:
                async with self._came:
                    self.news.append(news)
                    self._came.notify_all()

    async def got(self, count: int) -> None:
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(lambda: len(events(self.news)) >= count)


async def test_sessions_are_made_renamed_listed_and_deleted(client: Client) -> None:
    made = await client.create_session("First")
    assert (await client.rename_session(made.id, "Renamed")).title == "Renamed"
    assert [session.title for session in (await client.sessions()).items] == ["Renamed"]
    await client.delete_session(made.id)
    assert (await client.sessions()).items == ()


async def test_entries_are_made_changed_found_and_deleted(client: Client, api: StubApi) -> None:
    made = await client.create_entry(EntryPut(question="Why?", answer="Because."))
    put = EntryPut(question="Why?", answer="So.")
    changed = await client.update_entry(made.id, put, seen=made.version)
    with pytest.raises(Conflict):
        await client.update_entry(made.id, put, seen=made.version)
    assert changed.answer == "So."
    assert (await client.entry(made.id)) == changed
    await client.delete_entry(made.id)
    with pytest.raises(NotFound):
        await client.entry(made.id)


async def test_lists_are_read_page_by_page(client: Client, api: StubApi) -> None:
    for number in range(4):
        api.add_entry(f"Question {number}", "Answer")
    first = await client.entries(limit=3)
    second = await client.entries(limit=3, cursor=first.cursor)
    assert len(first.items) + len(second.items) == 5
    assert second.cursor is None


async def test_the_key_goes_with_every_call(client: Client, api: StubApi) -> None:
    await client.status()
    assert api.asked[-1].headers["authorization"] == f"Bearer {KEY}"
    stranger = Client(api.url, "another")
    with pytest.raises(Unauthorized):
        await stranger.status()
    await stranger.close()


async def test_a_refusal_carries_its_facts(client: Client, api: StubApi) -> None:
    api.overrides["GET", "/api/status"] = problem(
        429, "overloaded", "too many", reason="full", retry_after_s=2.5
    )
    with pytest.raises(Overloaded) as caught:
        await client.status()
    assert (caught.value.reason, caught.value.retry_after_s) == ("full", 2.5)


async def test_a_server_that_is_not_there_is_unreachable(client: Client, api: StubApi) -> None:
    api.down()
    with pytest.raises(Unavailable) as caught:
        await client.status()
    assert caught.value.reason == UNREACHABLE


async def test_a_starting_server_says_what_is_missing(client: Client, api: StubApi) -> None:
    api.is_ready, api.checks = False, {"worker": "loading"}
    readiness = await client.readiness()
    assert (readiness.ready, readiness.checks) == (False, {"worker": "loading"})


async def test_calls_that_are_given_up_cost_no_connection(client: Client) -> None:
    """httpcore loses a place in its pool when a call is cancelled while it is under way."""
    calls: list[asyncio.Task[Status]] = []
    for steps in range(300):
        if calls:
            calls[-1].cancel()
        calls.append(asyncio.create_task(client.status()))
        for _ in range(steps % 40):
            await asyncio.sleep(0)
    await asyncio.gather(*calls, return_exceptions=True)
    async with asyncio.timeout(10):
        await asyncio.gather(*(client.status() for _ in range(CONNECTIONS_MAX * 2)))


@pytest.mark.parametrize(
    "address", ["", "nonsense", "ftp://x", "http://", "http://x:port", "file:///x"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Invalid):
        Client(address, "key")


async def test_events_come_in_order_and_end_with_the_terminal_one(
    client: Client, api: StubApi
) -> None:
    request_id = await asked(client, api)
    api.emit(request_id, RECEIVED, Waiting(place=1, eta_s=None), Delta(text="a"), DONE)
    heard = Heard()
    await heard.follow(client, request_id)
    assert heard.news == [RECEIVED, Waiting(place=1, eta_s=None), Delta(text="a"), DONE]


async def test_a_broken_line_neither_repeats_nor_loses_a_delta(
    client: Client, api: StubApi, pauses: Pauses
) -> None:
    request_id = await asked(client, api)
    heard = Heard()
    following = asyncio.create_task(heard.follow(client, request_id))
    letters = "abcdefgh"
    for count, letter in enumerate(letters, 1):
        api.emit(request_id, Delta(text=letter))
        await heard.got(count)
        api.cut()
    api.emit(request_id, DONE)
    await following
    assert events(heard.news) == [*(Delta(text=letter) for letter in letters), DONE]
    asked_for = api.calls("GET", f"/api/requests/{request_id}/events")
    assert [call.headers.get("last-event-id") for call in asked_for][:3] == [None, "1-0", "2-0"]
    assert Interrupted(1, backoff_s(1)) in heard.news
    assert Resumed() in heard.news


async def test_a_server_that_forgets_the_last_id_repeats_nothing(
    client: Client, api: StubApi
) -> None:
    api.forgets_last_id = True
    request_id = await asked(client, api)
    heard = Heard()
    following = asyncio.create_task(heard.follow(client, request_id))
    api.emit(request_id, Delta(text="a"), Delta(text="b"))
    await heard.got(2)
    api.cut()
    api.emit(request_id, Delta(text="c"), DONE)
    await following
    assert events(heard.news) == [Delta(text="a"), Delta(text="b"), Delta(text="c"), DONE]


async def test_keep_alive_comments_are_no_events(client: Client, api: StubApi) -> None:
    api.has_keep_alive_comments = True
    request_id = await asked(client, api)
    heard = Heard()
    following = asyncio.create_task(heard.follow(client, request_id))
    api.emit(request_id, Admitted(waited_ms=1))
    await heard.got(1)
    api.emit(request_id, Delta(text="a"), Cancelled(reason="asked"))
    await following
    assert heard.news == [Admitted(waited_ms=1), Delta(text="a"), Cancelled(reason="asked")]


async def test_the_pauses_grow_and_end_when_the_server_stays_away(
    client: Client, api: StubApi, pauses: Pauses
) -> None:
    request_id = await asked(client, api)
    api.down()
    heard = Heard()
    with pytest.raises(Unavailable):
        await heard.follow(client, request_id)
    assert len(pauses.taken_s) == RECONNECTS_MAX
    assert pauses.taken_s == sorted(pauses.taken_s)
    assert pauses.taken_s[-1] == BACKOFF_MAX_S


async def test_following_what_does_not_exist_is_not_tried_again(
    client: Client, pauses: Pauses
) -> None:
    with pytest.raises(NotFound):
        await Heard().follow(client, "r-none")
    assert pauses.taken_s == []


async def test_an_event_that_is_not_understood_is_not_tried_again(
    client: Client, api: StubApi, pauses: Pauses
) -> None:
    request_id = await asked(client, api)
    api.streams[request_id].events.append(("1-0", "delta", b'{"text": 3}'))
    with pytest.raises(SluiceError):
        await Heard().follow(client, request_id)
    assert pauses.taken_s == []


async def test_an_event_of_a_newer_server_is_passed_over(client: Client, api: StubApi) -> None:
    request_id = await asked(client, api)
    api.streams[request_id].events.append(("0-1", "thinking", b"{}"))
    api.emit(request_id, DONE)
    heard = Heard()
    await heard.follow(client, request_id)
    assert heard.news == [DONE]


async def test_a_certificate_that_nobody_vouches_for_is_told() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
    told: list[LinkState] = []

    async def served(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def pause(_: float) -> None:
        raise EOFError

    async with await asyncio.start_server(served, "127.0.0.1", 0, ssl=context) as server:
        client = Client(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", KEY)
        try:
            with pytest.raises(Unavailable) as caught:
                await client.status()
            with pytest.raises(EOFError):
                await Link(client.readiness, tell=told.append, pause=pause).watch()
        finally:
            await client.close()
    assert caught.value.reason == UNREACHABLE
    assert "self-signed certificate" in caught.value.facts[UNSAFE]
    (state,) = told
    for language in ("en", "zh"):
        banner = link_banner(texts_for(language), state, client.base_url)
        assert "self-signed certificate" in banner
        assert "SSL_CERT_FILE" in banner
