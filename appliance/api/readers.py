"""Readers who go away: a response that is made as a whole looks whether anybody waits for it.

Who has timed out asks again, and the answer that nobody reads would hold a slot. Streams need none
of this: writing into them fails.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar.types import Receive

from appliance.errors import Unavailable

T = TypeVar("T")


async def unless_gone(receive: Receive, answering: Coroutine[Any, Any, T]) -> T:
    """What `answering` returns. It is cancelled, and Unavailable raised, once the caller has
    disconnected; the body of the request must have been read.
    """
    answer = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise Unavailable("the caller went away", hint="ask again", reason="caller_gone")
        return answer.result()
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.wait([answer, gone])


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
