"""What the suites of the limiter share."""

import pytest
from limiter_rig import Rig

from appliance.bus.client import Bus


@pytest.fixture
def rig(bus: Bus) -> Rig:
    return Rig(bus)
