"""What stands in the headers of an answer, and that an answer is given without them."""

from typing import cast

import pytest

from appliance.access.quotas import Quotas
from appliance.bus.client import AWAY, Bus
from appliance.people.users import Users
from appliance.schema.people import User
from appliance.settings import Settings
from appliance.settings.limiter import Limiter, Tier

pytestmark = pytest.mark.unit


class Away:
    """The store went away after the question was taken."""

    asked = 0

    async def find(self, uid: str) -> User:
        self.asked += 1
        raise AWAY[0]("gone")


def quotas(users: Away, *tiers: Tier) -> Quotas:
    settings = Settings(limiter=Limiter(tiers=tiers))
    return Quotas(cast(Bus, None), cast(Users, users), settings)


async def test_headers_are_left_out_while_the_store_is_away() -> None:
    users = Away()
    limited = quotas(users, Tier(name="standard", requests_per_minute=5))
    assert await limited.headers("ann") == {}
    assert users.asked == 1


async def test_nothing_is_read_for_headers_where_nobody_is_limited() -> None:
    users = Away()
    assert await quotas(users).headers("ann") == {}
    assert users.asked == 0
