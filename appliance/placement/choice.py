"""The placement policy chosen at run time, and what the loop last told of itself."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import msgspec

from appliance import keys
from appliance.bus import placing
from appliance.bus.client import Bus
from appliance.bus.placing import Told
from appliance.schema.status import PlacementStatus

LivePolicy: TypeAlias = Literal["hybrid", "cost", "pull"]
"""The others exist for comparison only."""


@dataclass(frozen=True)
class Placements:
    """`default` is the settings' policy, in force until another is chosen."""

    bus: Bus
    default: LivePolicy

    async def choose(self, policy: LivePolicy) -> PlacementStatus:
        """From now on, after a restart too."""
        await self.bus.set(keys.POLICY, policy)
        await placing.tell(self.bus, Told(kind="policy"))
        return msgspec.structs.replace(await self.told(), policy=policy)

    async def chosen(self) -> LivePolicy:
        found = (await self.bus.get(keys.POLICY) or b"").decode()
        return next((name for name in get_args(LivePolicy) if name == found), self.default)

    async def told(self) -> PlacementStatus:
        """What the loop told a moment ago; an inactive one while nobody leads."""
        found = await self.bus.get(keys.PLACING)
        if found:
            return msgspec.json.decode(found, type=PlacementStatus)
        return PlacementStatus(policy=await self.chosen(), active=False)
