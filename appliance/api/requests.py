"""`/api/requests`: following an answer, and giving it up."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import Parameter
from litestar.response import Stream

from appliance import keys
from appliance.api.lists import IdPath
from appliance.api.services import Services
from appliance.bus.replies import StreamEvent, parse_id
from appliance.errors import Invalid
from appliance.people.turns import Thumbed
from appliance.schema.curation import FeedbackPost
from appliance.schema.people import PromptAudit
from appliance.schema.requests import RequestStatus

KEEP_ALIVE = b": keep-alive\n\n"
NO_BUFFERING = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

LastEventId = Annotated[
    str | None, Parameter(header="Last-Event-ID", max_length=64, required=False)
]


def cursor_of(last_event_id: str | None) -> str:
    """The id after which to go on, "0-0" for the beginning. Raises Invalid."""
    after = last_event_id or "0-0"
    try:
        parse_id(after)
    except ValueError:
        raise Invalid(
            "Last-Event-ID is not one of ours", hint="leave it out", reason="bad_event_id"
        ) from None
    return after


@get("/{request_id:str}")
async def read_request(services: Services, request_id: IdPath) -> RequestStatus:
    return await services.flow.status(request_id)


@delete("/{request_id:str}", status_code=202)
async def cancel_request(services: Services, request_id: IdPath) -> RequestStatus:
    """Asks for cancellation; the event stream then ends with `cancelled`."""
    await services.cancelling.cancel(request_id)
    return await services.flow.status(request_id)


@get("/{request_id:str}/prompt")
async def read_prompt(services: Services, request_id: IdPath) -> PromptAudit:
    """What the model was sent for a question in a session, for as long as its turn is kept."""
    session_id = keys.tag(request_id)
    kept = services.settings.sessions.turns_kept
    return await services.profiles.audit(session_id, request_id, latest=kept)


@get("/{request_id:str}/events", media_type="text/event-stream")
async def follow_request(
    services: Services,
    request_id: IdPath,
    last_event_id: LastEventId = None,
) -> Stream:
    """Server-sent events to the terminal one. Any number of readers; `Last-Event-ID` resumes."""
    events = await services.flow.follow(request_id, cursor_of(last_event_id))
    return Stream(
        server_sent(
            services.presence.reading(request_id, events), services.settings.server.keep_alive_s
        ),
        media_type="text/event-stream",
        headers=NO_BUFFERING,
    )


async def server_sent(
    events: AsyncGenerator[StreamEvent, None], keep_alive_s: float
) -> AsyncGenerator[bytes, None]:
    """Wire form of the events, with a comment whenever nothing came for `keep_alive_s`."""
    following = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait([following], timeout=keep_alive_s)
            if not done:
                yield KEEP_ALIVE
                continue
            event = following.result()
            if event is None:
                return
            yield b"id: %s\nevent: %s\ndata: %s\n\n" % (
                event.id.encode(),
                event.event.encode(),
                event.data,
            )
            following = asyncio.ensure_future(anext(events, None))
    finally:
        following.cancel()
        await asyncio.wait([following])
        await events.aclose()


@post("/{request_id:str}/feedback", status_code=204)
async def leave_feedback(services: Services, request_id: IdPath, data: FeedbackPost) -> None:
    """A thumb for an answer that has ended; another one replaces it. A thumb down puts the question
    among the misses. Kept with the turn; without a session as long as the request."""
    await services.feedback.leave(request_id, Thumbed(data.thumb, data.comment))


router = Router(
    "/api/requests",
    route_handlers=[
        read_request,
        cancel_request,
        read_prompt,
        follow_request,
        leave_feedback,
    ],
)
