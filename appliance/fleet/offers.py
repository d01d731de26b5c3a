"""The chat models that could be used on this machine: what is here, what fits, what to expect.

`capacity` says what the machine has and `fitting` judges; this puts the store's models, and the one
in use wherever it comes from, beside each other and refuses one that cannot be taken into use.
Methods read files and block: call them on a thread.
"""

from typing import Final

import psutil

from appliance.errors import Conflict, SluiceError
from appliance.fleet.capacity import capacity, graphics
from appliance.fleet.fitting import Capacity, Offer, fit, memory_of, proposed
from appliance.fleet.record import ChatPool
from appliance.fleet.shelf import Shelf, worker_bytes
from appliance.fleet.workers import cache_tokens
from appliance.schema.setup import SetupMachine, SetupModel, WeightsState
from appliance.settings import Settings, models_directory
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


class Offers:
    """What may be chosen as the chat model of `chat`, which is the one in use."""

    def __init__(self, shelf: Shelf, *, settings: Settings, chat: ChatPool) -> None:
        self._shelf = shelf
        self._settings = settings
        self._chat = chat
        self._is_fake = settings.worker.engine == "fake"
        self._store = Store(models_directory(settings))
        self._cache_tokens = cache_tokens(settings)

    @property
    def chosen(self) -> str:
        """The name of the chat model in use."""
        return self._shelf.default

    def setting(self, name: str) -> str:
        """What `models.chat` says to have this model: nothing for the starter."""
        starter = self._store.catalogue.roles.chat
        return "" if name == starter and not self._is_fake else name

    def capacity(self) -> Capacity:
        """What the machine has for a chat model in the place of the present one."""
        weights_bytes = self._shelf.listing()[0].size_bytes
        return capacity(
            self._settings,
            threads=self._chat.threads,
            held_bytes=max(0, self._chat.memory_bytes - weights_bytes),
            directory=self._store.directory,
        )

    def machine(self, room: Capacity) -> SetupMachine:
        return SetupMachine(
            memory_bytes=psutil.virtual_memory().total,
            free_bytes=room.free_bytes,
            cores=self._chat.threads,
            gpus=tuple(one.description for one in graphics(self._settings)),
            disk_free_bytes=room.disk_free_bytes,
        )

    def models(self, room: Capacity) -> tuple[SetupModel, ...]:
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

    def require(self, name: str, *, may_lack: bool = False) -> None:
        """Raises NotFound, Conflict or Invalid unless this model is here, sound, and fits; one
        that may lack only has to be one that can be fetched and fits."""
        if self._is_fake:
            parse(name)
            return
        listed = next(
            (one for one in self._store.listing() if one.name == name and one.kind == "chat"), None
        )
        if listed is None:
            raise unknown(name)
        is_lacking = listed.state in ("missing", "partial")
        if is_lacking and not may_lack:
            raise Conflict(
                f"the weights of {name} are not here",
                hint="download them first",
                reason="weights_missing",
                facts={"name": name},
            )
        if not is_lacking:
            self._store.checked(name)
        offer, room = self._offer(listed), self.capacity()
        need_bytes, obstacle = offer.memory_bytes, fit(offer, room).obstacle
        if obstacle == "disk":
            raise Conflict(
                f"the disk has no room for {name}",
                hint="free some space on it",
                reason="no_disk_room",
                facts={"name": name},
            )
        if obstacle == "memory":
            raise Conflict(
                f"{name} needs about {need_bytes / GIGABYTE:.1f} GB of memory "
                f"and {room.free_bytes / GIGABYTE:.1f} GB are free",
                hint="choose a smaller model, lower worker.cache_tokens, or free memory",
                reason="no_room",
                facts={
                    "name": name,
                    "need": f"{need_bytes / GIGABYTE:.1f}",
                    "free": f"{room.free_bytes / GIGABYTE:.1f}",
                },
            )

    def _is_shown(self, one: Listed) -> bool:
        roles = self._store.catalogue.roles
        for_tests = one.name == roles.test_chat != roles.chat
        return one.kind == "chat" and not (for_tests and one.name != self.chosen)

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
            chosen=one.name == self.chosen,
            recommended=one.name == recommended,
            licence=entry.licence if entry else "",
            notes=entry.notes if entry else {},
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
