"""What access, workers and the reaper tell the limiter, on `admit`.

Notices are nudges: the records are the truth, and the limiter compares itself with them every
few seconds. Losing a notice costs seconds, never a request.
"""

from typing import Literal

import msgspec

from appliance import keys
from appliance.bus.client import Bus

ADMIT_ENTRIES = 20_000


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """`workers` means that a worker came or went; the others name a request."""

    kind: Literal["arrived", "ended", "workers"]
    request_id: str = ""
    uid: str = ""
    pool: str = keys.MAIN
    deadline_at_ms: int = 0


async def notify(bus: Bus, notice: Notice) -> None:
    await bus.xadd(
        keys.ADMIT, {"notice": msgspec.json.encode(notice)}, maxlen=ADMIT_ENTRIES, approximate=True
    )
