"""`/api/users/{uid}/inbox`: messages to a person who did not ask.

Any service with a key may write; the person's devices list, follow and acknowledge.
"""

from typing import Annotated

from litestar import Response, Router, delete, get, post
from litestar.params import Parameter
from litestar.response import Stream

from appliance.api.callers import Caller
from appliance.api.lists import Cursor, IdPath, Limit, UidPath
from appliance.api.requests import NO_BUFFERING, LastEventId, cursor_of, server_sent
from appliance.api.services import Services
from appliance.schema.fields import Page
from appliance.schema.inbox import InboxAccepted, InboxAck, InboxPage, InboxPost, Unread

IdempotencyKey = Annotated[
    str | None, Parameter(header="Idempotency-Key", max_length=200, required=False)
]


@post("/")
async def post_message(
    services: Services,
    caller: Caller,
    uid: UidPath,
    data: InboxPost,
    idempotency_key: IdempotencyKey = None,
) -> Response[InboxAccepted]:
    """Writes to the person: 201 when delivered, 202 when it waits for its time, 200 when the
    `Idempotency-Key` came before with the same message."""
    accepted = await services.inbox.post(
        uid,
        data,
        sender=caller.name,
        sender_id=caller.key_id,
        idempotency_key=idempotency_key or "",
    )
    status = 200 if accepted.repeated else 202 if accepted.state == "scheduled" else 201
    return Response(accepted, status_code=status)


@get("/")
async def list_messages(
    services: Services, uid: UidPath, cursor: Cursor = None, limit: Limit = 50
) -> InboxPage:
    """What was delivered, the newest first, and how many messages are unread."""
    return await services.inbox.page(uid, cursor=cursor, limit=limit)


@get("/scheduled")
async def list_scheduled(services: Services, uid: UidPath) -> Page:
    """Messages that wait for their time or for the end of quiet hours."""
    return Page(items=await services.inbox.waiting(uid))


@delete("/scheduled/{message_id:str}")
async def withdraw_message(services: Services, uid: UidPath, message_id: IdPath) -> None:
    """A message that waits will not be delivered."""
    await services.inbox.withdraw(uid, message_id)


@get("/events", media_type="text/event-stream")
async def follow_inbox(
    services: Services, uid: UidPath, last_event_id: LastEventId = None
) -> Stream:
    """Server-sent events without end: `unread` first, then `message`, `read` (ids that any device
    acknowledged) and `related` (questions to ask next). `Last-Event-ID` resumes."""
    events = services.inbox.follow(uid, cursor_of(last_event_id))
    return Stream(
        server_sent(events, services.settings.server.keep_alive_s),
        media_type="text/event-stream",
        headers=NO_BUFFERING,
    )


@post("/ack", status_code=200)
async def acknowledge(services: Services, uid: UidPath, data: InboxAck) -> Unread:
    """Marks messages as read, on all devices."""
    return await services.inbox.acknowledge(uid, data.ids, everything=data.all)


router = Router(
    "/api/users/{uid:str}/inbox",
    route_handlers=[
        post_message,
        list_messages,
        list_scheduled,
        withdraw_message,
        follow_inbox,
        acknowledge,
    ],
)
