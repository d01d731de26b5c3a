"""What access, workers and the reaper tell the limiter, on `admit`.

Notices are nudges: the records are the truth, and the limiter compares itself with them every
few seconds. Losing a notice costs seconds, never a request: what a request asks for stands in its
record (`ask`) before it is told, and what it used (`usage`) before its end is.
"""

from typing import Literal

import msgspec

from appliance import keys
from appliance.bus import placing, scripts
from appliance.bus.client import Bus
from appliance.bus.placing import Told
from appliance.schema.answers import Usage
from appliance.schema.requests import Priority

ADMIT_ENTRIES = 20_000


class Asked(msgspec.Struct, frozen=True):
    """What a request will need, as predicted at its arrival. All but `tier` in tokens.

    `input_tokens` have to be computed, `cached_tokens` are in a worker's cache already; half of
    such answers stay below `p50`, 80 % below `p80`, all below `most`.

    `ruled`: an operator's rule has had its say already, and gave it the next slot if `is_ahead`.
    """

    tier: str = "standard"
    priority: Priority = "person"
    input_tokens: int = 0
    cached_tokens: int = 0
    p50: float = 120.0
    p80: float = 250.0
    most: int = 512
    ruled: bool = False
    is_ahead: bool = False


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """`workers` means that a worker came or went; the others name a request.

    `usage` is what an ended request really used, None when it used nothing.
    """

    kind: Literal["arrived", "ended", "workers"]
    request_id: str = ""
    uid: str = ""
    pool: str = keys.MAIN
    deadline_at_ms: int = 0
    asked: Asked = Asked()
    usage: Usage | None = None


async def notify(bus: Bus, notice: Notice) -> None:
    """Tells the limiter; of an end the placement loop too."""
    await bus.xadd(
        keys.ADMIT, {"notice": msgspec.json.encode(notice)}, maxlen=ADMIT_ENTRIES, approximate=True
    )
    if notice.kind == "ended":
        await placing.tell(bus, Told(kind="ended", request_id=notice.request_id))


async def arrive(bus: Bus, notice: Notice) -> None:
    """Stores what a request asks for in its record, then tells the limiter, while it is open."""
    if await scripts.note(bus, notice.request_id, "ask", msgspec.json.encode(notice.asked)):
        await notify(bus, notice)
