"""A start without models: what is fetched for it, in which order, and what it waits for."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from models_bench import FileServer, Gguf, catalogue_of, entry_of, serving

from appliance.errors import Unavailable
from appliance.fleet.downloads import Downloads
from appliance.fleet.provision import Provision, Wanted
from models.catalogue import FromHttps
from models.pull import Ways
from models.store import Store

pytestmark = pytest.mark.integration

WEIGHTS = Gguf(weights=bytes(300_000)).build()
HTTPS = FromHttps("https://weights.invalid/tiny.gguf")
DEADLINE_S = 30.0


@dataclass
class Lacking:
    """A store without the chat model and the embedding model, and what is to become of it."""

    store: Store
    downloads: Downloads
    is_chosen: bool = False
    is_unattended: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def names(self) -> tuple[str, ...]:
        return tuple(one for one in ("chat-model", "embedder") if not self.store.has(one))

    async def chosen(self) -> bool:
        return self.is_chosen

    @asynccontextmanager
    async def provided(self) -> AsyncIterator[Provision]:
        wanted = Wanted(lacking=self.names, chosen=self.chosen, unattended=self.is_unattended)
        made = Provision(
            self.downloads,
            wanted,
            lacking=self.names(),
            complete=self.ended.set,
        )
        running = asyncio.create_task(made.run())
        yield made
        running.cancel()
        await asyncio.wait([running])

    async def until(self, *states: str) -> None:
        """A thread tells the provision and nobody else."""
        async with asyncio.timeout(DEADLINE_S):
            while self.downloads.status.state not in states:  # noqa: ASYNC110 # see above
                await asyncio.sleep(0.01)

    async def until_complete(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.ended.wait()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer(WEIGHTS)) as running:
        yield running


@pytest.fixture
def lacking(tmp_path: Path, server: FileServer) -> Iterator[Lacking]:
    entries = (
        entry_of(WEIGHTS, HTTPS, name="chat-model"),
        entry_of(WEIGHTS, HTTPS, name="other"),
        entry_of(WEIGHTS, HTTPS, name="embedder", kind="embedding"),
    )
    store = Store(tmp_path / "models", catalogue_of(*entries))
    downloads = Downloads(store, Ways(mirror=server.url))
    yield Lacking(store, downloads)
    server.go_on.set()
    downloads.stop()


async def test_nothing_is_fetched_until_a_model_was_chosen(
    lacking: Lacking, server: FileServer
) -> None:
    async with lacking.provided() as provision:
        await asyncio.sleep(0)
        assert "none was chosen" in provision.standing()
        assert provision.next_step()
        assert not provision.is_fetching
        assert provision.refusal().reason == "models_lacking"
        assert not server.asked
        provision.begin()
        await lacking.until_complete()
    assert lacking.names() == ()
    assert len(server.asked) == 2


async def test_what_the_settings_name_is_fetched_at_once(lacking: Lacking) -> None:
    lacking.is_chosen = True
    async with lacking.provided() as provision:
        await lacking.until_complete()
        assert provision.lacking == ()


async def test_a_pause_is_kept_and_told_until_somebody_goes_on(
    lacking: Lacking, server: FileServer
) -> None:
    lacking.is_chosen = True
    server.script = ["stall:100000"]
    async with lacking.provided() as provision:
        await asyncio.to_thread(server.stalled.wait, DEADLINE_S)
        assert "downloading chat-model" in provision.standing()
        assert provision.is_fetching
        lacking.downloads.pause()
        server.go_on.set()
        await lacking.until("paused")
        assert "paused" in provision.standing()
        assert not provision.is_fetching
        provision.begin()  # by whoever finishes the questions: the pause was meant
        await asyncio.sleep(0.05)
        assert lacking.downloads.status.state == "paused"
        provision.go_on()
        await lacking.until_complete()


async def test_what_was_brought_along_is_not_fetched(lacking: Lacking, server: FileServer) -> None:
    async with lacking.provided() as provision:
        lacking.store.directory.mkdir()
        for name in lacking.names():
            lacking.store.path(name).write_bytes(WEIGHTS)
        provision.begin()
        await lacking.until_complete()
    assert not server.asked


async def test_another_download_gives_way_to_what_is_lacking(
    lacking: Lacking, server: FileServer
) -> None:
    lacking.is_chosen = True
    server.script = ["stall:100000"]
    lacking.downloads.start("other")
    await asyncio.to_thread(server.stalled.wait, DEADLINE_S)
    async with lacking.provided():
        await lacking.until("pausing")
        server.go_on.set()
        await lacking.until_complete()
    assert not lacking.store.has("other")


async def test_a_download_that_begins_while_files_are_looked_at_is_no_failure(
    lacking: Lacking, server: FileServer
) -> None:
    server.script = ["stall:100000"]
    looks = 0

    def names() -> tuple[str, ...]:
        nonlocal looks
        looks += 1
        if looks == 1:
            lacking.downloads.start("other")
        return lacking.names()

    wanted = Wanted(lacking=names, chosen=_yes, unattended=False)
    provision = Provision(lacking.downloads, wanted, lacking=("chat-model",), complete=_nothing)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        group.create_task(provision.run())
        await lacking.until("pausing")
        server.go_on.set()
    assert lacking.names() == ()


async def test_a_failure_waits_for_the_operator(lacking: Lacking, server: FileServer) -> None:
    lacking.is_chosen = True
    server.script = ["404"]
    async with lacking.provided() as provision:
        await lacking.until("failed")
        assert "chat-model was not downloaded" in provision.standing()
        provision.go_on()
        await lacking.until_complete()


async def test_a_failure_ends_a_start_that_nobody_attends(
    lacking: Lacking, server: FileServer
) -> None:
    server.script = ["404"]
    wanted = Wanted(lacking=lacking.names, chosen=_yes, unattended=True)
    provision = Provision(lacking.downloads, wanted, lacking=lacking.names(), complete=lambda: None)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(Unavailable) as caught:
            await provision.run()
    assert caught.value.hint


async def _yes() -> bool:
    return True


def _nothing() -> None:
    pass
