"""What the first start asks, whoever asks it: language, chat model, whether that is settled.

It tells what models could be used on this machine and what to expect of them, lets one be
downloaded, and takes one that is here into use: the settings file gets its name, and the appliance
starts anew in the same process. When the model does not start, the runtime puts the name before
back and says why (`trouble`). Nothing waits for these questions to be answered: an appliance
without a UI serves all the same.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import psutil

from appliance import keys
from appliance.access.situation import Situation
from appliance.bus.client import Bus
from appliance.errors import Conflict, SluiceError
from appliance.fleet.capacity import capacity, graphics
from appliance.fleet.downloads import Downloads
from appliance.fleet.fitting import Capacity, Offer, fit, memory_of, proposed
from appliance.fleet.record import ChatPool
from appliance.fleet.shelf import Shelf, worker_bytes
from appliance.fleet.workers import cache_tokens
from appliance.knowledge.entries import Entries
from appliance.schema.setup import (
    SetupMachine,
    SetupModel,
    SetupPut,
    SetupStatus,
    UiLanguage,
    WeightsState,
)
from appliance.settings import Settings, models_directory
from appliance.settings.file import change
from appliance.worker.fake_model import parse
from models.catalogue import unknown
from models.store import Listed, Store
from models.store import State as StoreState

GIGABYTE: Final = 1e9
_STATES: Final[dict[StoreState, WeightsState]] = {
    "present": "here",
    "unverified": "here",
    "partial": "partial",
    "missing": "absent",
    "corrupt": "damaged",
}


class SetUp:
    """`restart` is called with the name that the chat model had in the settings."""

    def __init__(
        self,
        bus: Bus,
        entries: Entries,
        shelf: Shelf,
        situation: Situation,
        *,
        settings: Settings,
        chat: ChatPool,
        restart: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._entries = entries
        self._shelf = shelf
        self._situation = situation
        self._settings = settings
        self._chat = chat
        self._restart = restart
        self._store = Store(models_directory(settings))
        self._cache_tokens = cache_tokens(settings)
        self._language: UiLanguage = settings.ui.language
        self._restarting = False

    @property
    def downloads(self) -> Downloads:
        return self._situation.downloads

    async def status(self) -> SetupStatus:
        entries = await self._entries.count()
        answered = await self._bus.get(keys.SETUP)
        room = await asyncio.to_thread(self._capacity)
        return SetupStatus(
            done=entries > 0 if answered is None else answered == b"1",
            language=self._language,
            chat=self._shelf.default,
            restarting=self._restarting,
            trouble=self._situation.trouble,
            fixed=self._situation.fixed,
            entries=entries,
            key_file=str(self._situation.key_file),
            machine=SetupMachine(
                memory_bytes=psutil.virtual_memory().total,
                free_bytes=room.free_bytes,
                cores=self._chat.threads,
                gpus=tuple(one.description for one in graphics(self._settings)),
                disk_free_bytes=room.disk_free_bytes,
            ),
            models=await asyncio.to_thread(self._models, room),
            download=self.downloads.status,
        )

    async def put(self, wanted: SetupPut) -> SetupStatus:
        """Carries out what is named; the model last, for it ends this life.

        Raises NotFound for an unknown model, Conflict for one that cannot be used now, and what
        `settings.file.change` raises.
        """
        if wanted.chat is not msgspec.UNSET:
            await self._require_usable(wanted.chat)
        if wanted.language is not msgspec.UNSET and wanted.language != self._language:
            await self._write("ui", "language", wanted.language)
            self._language = wanted.language
        if wanted.done is not msgspec.UNSET:
            await self._bus.set(keys.SETUP, "1" if wanted.done else "0")
        if wanted.chat is not msgspec.UNSET and wanted.chat != self._shelf.default:
            starter = self._store.catalogue.roles.chat
            name = "" if wanted.chat == starter and not self._is_fake else wanted.chat
            before = await self._write("models", "chat", name)
            self._restarting = True
            self._restart(before)
        return await self.status()

    @property
    def _is_fake(self) -> bool:
        return self._settings.worker.engine == "fake"

    async def _write(self, section: str, key: str, value: str) -> str:
        return await asyncio.to_thread(change, self._situation.data, section, key, value)

    # -- what there is to choose from

    def _capacity(self) -> Capacity:
        weights_bytes = self._shelf.listing()[0].size_bytes
        return capacity(
            self._settings,
            threads=self._chat.threads,
            held_bytes=max(0, self._chat.memory_bytes - weights_bytes),
            directory=self._store.directory,
        )

    def _models(self, room: Capacity) -> tuple[SetupModel, ...]:
        """The chat model in use first if it is not of the store, then the store's by catalogue."""
        listing = [one for one in self._store.listing() if self._is_shown(one)]
        offers = [self._offer(one) for one in listing]
        recommended = "" if self._is_fake else proposed(offers, room)
        rows = [
            self._row(one, offer, room, recommended)
            for one, offer in zip(listing, offers, strict=True)
        ]
        if not any(row.chosen for row in rows):
            rows.insert(0, self._foreign())
        return tuple(rows)

    def _is_shown(self, one: Listed) -> bool:
        roles = self._store.catalogue.roles
        for_tests = one.name == roles.test_chat != roles.chat
        return one.kind == "chat" and not (for_tests and one.name != self._shelf.default)

    def _offer(self, one: Listed) -> Offer:
        entry, is_here = one.entry, one.state in ("present", "unverified")
        memory_bytes = 0
        if is_here:
            try:
                memory_bytes = worker_bytes(one.path, self._cache_tokens)
            except (SluiceError, OSError):
                is_here = False  # its row says that it is damaged
        if not memory_bytes and entry is not None:
            memory_bytes = memory_of(entry, cache_tokens=self._cache_tokens)
        return Offer(
            name=one.name,
            size_bytes=one.size_bytes,
            missing_bytes=0 if is_here else max(0, one.size_bytes - one.here_bytes),
            memory_bytes=memory_bytes,
            read_share=entry.read_share if entry else 1.0,
            proposable=entry is not None,
        )

    def _row(self, one: Listed, offer: Offer, room: Capacity, recommended: str) -> SetupModel:
        judged = fit(offer, room)
        entry = one.entry
        state = _STATES[one.state]
        return SetupModel(
            name=one.name,
            state="damaged" if state == "here" and not offer.memory_bytes else state,
            size_bytes=one.size_bytes,
            here_bytes=min(one.here_bytes, one.size_bytes),
            memory_bytes=offer.memory_bytes,
            tokens_per_s=judged.tokens_per_s,
            first_word_s=judged.first_word_s,
            obstacle=judged.obstacle,
            starter=one.name == self._store.catalogue.roles.chat,
            chosen=one.name == self._shelf.default,
            recommended=one.name == recommended,
            licence=entry.licence if entry else "",
            notes={"en": entry.note, "zh": entry.note_zh} if entry else {},
        )

    def _foreign(self) -> SetupModel:
        """The chat model in use, from a path of its own or of the fake engine."""
        weights = self._shelf.listing()[0]
        return SetupModel(
            name=weights.name,
            state="here",
            size_bytes=weights.size_bytes,
            here_bytes=weights.size_bytes,
            memory_bytes=self._chat.memory_bytes,
            tokens_per_s=None,
            first_word_s=None,
            obstacle="",
            starter=False,
            chosen=True,
            recommended=False,
            licence="",
            notes={},
        )

    # -- choosing

    async def _require_usable(self, name: str) -> None:
        """Raises NotFound, Conflict or Invalid unless this model can be taken into use now."""
        if self._restarting:
            raise Conflict("another model is being taken into use", hint="wait until it is ready")
        if name == self._shelf.default:
            return
        if self._situation.fixed:
            raise Conflict(self._situation.fixed, hint="start it without, then choose here")
        if self._is_fake:
            parse(name)
        else:
            await asyncio.to_thread(partial(self._require_here_and_fitting, name))

    def _require_here_and_fitting(self, name: str) -> None:
        listed = next(
            (one for one in self._store.listing() if one.name == name and one.kind == "chat"), None
        )
        if listed is None:
            raise unknown(name)
        if listed.state in ("missing", "partial"):
            raise Conflict(f"the weights of {name} are not here", hint="download them first")
        self._store.checked(name)
        need_bytes = worker_bytes(listed.path, self._cache_tokens)
        room = self._capacity()
        if fit(self._offer(listed), room).obstacle == "memory":
            raise Conflict(
                f"{name} needs about {need_bytes / GIGABYTE:.1f} GB of memory "
                f"and {room.free_bytes / GIGABYTE:.1f} GB are free",
                hint="choose a smaller model, lower worker.cache_tokens, or free memory",
                reason="no_room",
            )
