"""What somebody chooses at the first start is what is fetched, not what was chosen before."""

import asyncio
from pathlib import Path

import pytest

from appliance.access.setting_up import SetUp
from appliance.access.situation import Situation
from appliance.bus.client import Bus
from appliance.fleet import offers as offering
from appliance.fleet.downloads import Downloads
from appliance.fleet.fitting import Capacity
from appliance.fleet.offers import Offers
from appliance.fleet.provision import Provision, Wanted
from appliance.fleet.record import ChatPool
from appliance.fleet.shelf import Shelf
from appliance.knowledge.entries import Entries
from appliance.schema.setup import SetupPut
from appliance.settings import Settings
from appliance.settings.inference import Models
from models.catalogue import shipped
from models.pull import Ways
from models.store import Store

pytestmark = pytest.mark.integration

GB = 1_000_000_000
MACHINE = Capacity(free_bytes=12 * GB, disk_free_bytes=200 * GB, read_rate=40 * GB, cores=8)
STARTER = shipped().roles.chat
OTHER = next(one.name for one in shipped().entry if one.kind == "chat" and one.name != STARTER)


class Rig:
    """A start without models: nothing is settled yet, and nothing is fetched in a test."""

    def __init__(self, bus: Bus, data: Path) -> None:
        store = Store(data / "models")
        settings = Settings(models=Models(directory=str(store.directory)))
        downloads = Downloads(store, Ways())
        situation = Situation(
            data=data, key_file=data / "key", downloads=downloads, lacking=lambda: (STARTER,)
        )
        wanted = Wanted(lacking=situation.lacking, chosen=self.is_chosen, unattended=False)
        self.provision = Provision(downloads, wanted, lacking=(STARTER,), complete=lambda: None)
        self.restarts: list[str] = []
        self.setup = SetUp(
            bus,
            Entries(bus, 100),
            Offers(
                Shelf(settings, str(store.path(STARTER))),
                settings=settings,
                chat=ChatPool(workers=(), threads=2, memory_bytes=0),
            ),
            situation,
            self.provision,
            language="en",
            restart=self.restarts.append,
        )

    async def is_chosen(self) -> bool:
        return False


@pytest.fixture
def rig(bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(offering, "capacity", lambda *_, **__: MACHINE)
    return Rig(bus, tmp_path)


async def test_another_model_is_fetched_by_the_next_life_alone(rig: Rig) -> None:
    told = await rig.setup.put(SetupPut(chat=OTHER, done=True))
    assert (told.done, told.restarting, rig.restarts) == (True, True, [""])
    assert not rig.provision.is_settled, "this life would begin with the old choice"


@pytest.mark.parametrize("wanted", [SetupPut(done=True), SetupPut(chat=STARTER, done=True)])
async def test_the_choice_there_is_is_fetched_at_once(rig: Rig, wanted: SetupPut) -> None:
    await asyncio.wait_for(rig.setup.put(wanted), 60)
    assert (rig.provision.is_settled, rig.restarts) == (True, [])
