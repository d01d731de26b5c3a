"""Which worker gets a request: how it stands, and the policy, which may be changed at run time."""

from litestar import Router, get, put

from appliance.api.services import Services
from appliance.placement.choice import LivePolicy
from appliance.schema.fields import Body
from appliance.schema.status import PlacementStatus


class PlacementPut(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    policy: LivePolicy


@get("/")
async def read_placement(services: Services) -> PlacementStatus:
    """Policy and workers as the placement loop sees them."""
    return await services.placements.told()


@put("/")
async def change_placement(data: PlacementPut, services: Services) -> PlacementStatus:
    """The policy from now on, after a restart too; what is placed already stays where it is."""
    return await services.placements.choose(data.policy)


router = Router("/api/placement", route_handlers=[read_placement, change_placement])
