"""What the first start asks, whoever asks it: language, chat model, whether that is settled.

It tells what `fleet.offers` says of this machine and its models, lets one be downloaded, and takes
one that is here into use: the settings file gets its name, and the appliance starts anew in the
same process. When the model does not start, the runtime puts the name before back and says why
(`trouble`). While models are lacking, the one chosen is fetched first (`fleet.provision`). Nothing
waits for these questions to be answered: an appliance without a UI serves all the same.
"""

import asyncio
from collections.abc import Callable

import msgspec

from appliance import keys
from appliance.access.situation import Situation
from appliance.bus.client import Bus
from appliance.errors import Conflict
from appliance.fleet.downloads import GOING, Downloads
from appliance.fleet.offers import Offers
from appliance.fleet.provision import Provision
from appliance.knowledge.entries import Entries
from appliance.schema.setup import SetupPut, SetupStatus, UiLanguage
from appliance.settings.file import change


async def is_set_up(bus: Bus, entries: Entries) -> bool:
    """Whether somebody answered the questions, or has put something into the FAQ instead."""
    answered = await bus.get(keys.SETUP)
    return await entries.count() > 0 if answered is None else answered == b"1"


class SetUp:
    """`restart` is called with the name that the chat model had in the settings."""

    def __init__(
        self,
        bus: Bus,
        entries: Entries,
        offers: Offers,
        situation: Situation,
        provision: Provision | None,
        *,
        language: UiLanguage,
        restart: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._entries = entries
        self._offers = offers
        self._situation = situation
        self._provision = provision
        self._language = language
        self._restart = restart
        self._restarting = False

    @property
    def downloads(self) -> Downloads:
        return self._situation.downloads

    async def status(self) -> SetupStatus:
        entries, provision = await self._entries.count(), self._provision
        room = await asyncio.to_thread(self._offers.capacity)
        return SetupStatus(
            done=await is_set_up(self._bus, self._entries),
            language=self._language,
            chat=self._offers.chosen,
            restarting=self._restarting,
            trouble=self._situation.trouble,
            trouble_reason=self._situation.trouble_reason,
            trouble_facts=dict(self._situation.trouble_facts),
            fixed=self._situation.fixed,
            entries=entries,
            key_file=str(self._situation.key_file),
            machine=await asyncio.to_thread(self._offers.machine, room),
            models=await asyncio.to_thread(self._offers.models, room),
            download=self.downloads.status,
            lacking=provision.lacking if provision is not None else (),
            settled=provision is None or provision.is_settled,
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
        before = None if wanted.chat is msgspec.UNSET else await self._choose(wanted.chat)
        # Another model is fetched by the next life: this one would begin with the old choice.
        if wanted.done is True and before is None and self._provision is not None:
            self._provision.begin()
        status = await self.status()
        if before is not None:
            self._restart(before)  # only now: a life that ends waits for no answer for long
        return status

    async def _choose(self, name: str) -> str | None:
        """What the next life falls back to, None when this one goes on."""
        provision, download = self._provision, self.downloads.status
        if name != self._offers.chosen:
            if provision is not None and download.state in GOING:
                self.downloads.pause()
            before = await self._write("models", "chat", self._offers.setting(name))
            self._restarting = True
            return before if provision is None else ""
        if provision is not None:
            provision.begin()
            provision.go_on()
        return None

    async def _require_usable(self, name: str) -> None:
        """Raises NotFound, Conflict or Invalid unless this model can be taken into use now."""
        if self._restarting:
            raise Conflict(
                "another model is being taken into use",
                hint="wait until it is ready",
                reason="model_changing",
            )
        if name == self._offers.chosen:
            return
        if self._situation.fixed:
            raise Conflict(
                self._situation.fixed,
                hint="start it without, then choose here",
                reason="model_fixed",
            )
        may_lack = self._provision is not None
        await asyncio.to_thread(self._offers.require, name, may_lack=may_lack)

    async def _write(self, section: str, key: str, value: str) -> str:
        return await asyncio.to_thread(change, self._situation.data, section, key, value)
