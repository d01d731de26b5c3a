"""What access and workers tell the placement loop on `place`, and what it answers.

All of it is advice. A request whose question nobody answers goes to the shared stream, news that is
lost is found in the records a second later, and an answer that comes too late is of no use to
anybody and expires. The loop may say that it holds a request until a worker has room; whoever is
so held asks again each second, so a loop that died holds nobody.
"""

import time
from typing import Literal

import msgspec

from appliance import keys
from appliance.bus.client import Bus

PLACE_ENTRIES = 20_000
ANSWER_TTL_S = 10
HELD = "?"
ASKED_AGAIN_S = 1.0


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """`wanted` asks where to put a request; the others tell what a worker did with it.

    `blocks` name the prompt's beginnings, `history` of them those a conversation had before.
    """

    kind: Literal["wanted", "taken", "first", "ended", "policy"]
    request_id: str = ""
    pool: str = keys.MAIN
    worker: str = ""
    session_id: str = ""
    input_tokens: int = 0
    blocks: tuple[int, ...] = ()
    history: int = 0


async def tell(bus: Bus, *told: Told) -> None:
    """Costs the teller one round trip and nothing else."""
    pipeline = bus.pipeline(transaction=False)
    for one in told:
        fields = {"told": msgspec.json.encode(one)}
        pipeline.xadd(keys.PLACE, fields, maxlen=PLACE_ENTRIES, approximate=True)
    await pipeline.execute()


async def asked(bus: Bus, wanted: Told, timeout_s: float, hold_s: float) -> str:
    """The worker a request is placed on; "" for any, and when no answer came in time.

    One that is held waits for at most `hold_s`.
    """
    until_s = time.monotonic() + hold_s
    answers = [keys.placed(wanted.request_id)]
    while True:
        await tell(bus, wanted)
        found = await bus.blpop(answers, timeout_s)
        while found and found[1].decode() == HELD:
            found = await bus.blpop(answers, ASKED_AGAIN_S)
            if found is None and time.monotonic() < until_s:
                break
        else:
            return found[1].decode() if found else ""


async def answer(bus: Bus, request_id: str, worker_id: str) -> None:
    key = keys.placed(request_id)
    pipeline = bus.pipeline(transaction=False)
    pipeline.rpush(key, worker_id)
    pipeline.expire(key, ANSWER_TTL_S)
    await pipeline.execute()
