"""`/api/dead-letters`: requests that were given up because workers died of them."""

import msgspec
from litestar import Router, delete, get, post

from appliance.access.flow import deadline_at_ms
from appliance.api.lists import Cursor, IdPath, Limit
from appliance.api.services import Services
from appliance.clock import now_ms
from appliance.keys import new_request_id
from appliance.people.cursors import decode_offset, encode_offset
from appliance.schema.fields import Page
from appliance.schema.requests import Accepted


@get("/")
async def list_dead_letters(services: Services, cursor: Cursor = None, limit: Limit = 50) -> Page:
    """Newest first."""
    skip = decode_offset(cursor)
    found = await services.dead_letters.newest(skip, limit + 1)
    more = len(found) > limit
    return Page(items=found[:limit], cursor=encode_offset(skip + limit) if more else None)


@post("/{request_id:str}/retry", status_code=202)
async def retry_dead_letter(services: Services, request_id: IdPath) -> Accepted:
    """Asks the same once more, as a new request; the letter is dropped once it is accepted."""
    kept = await services.dead_letters.find(request_id)
    old = kept.request
    session = await services.people.sessions.read(old.session_id) if old.session_id else None
    request = msgspec.structs.replace(
        old,
        id=new_request_id(old.session_id),
        created_at_ms=now_ms(),
        deadline_at_ms=deadline_at_ms(services.settings, None),
    )
    await services.flow.accept(request, session)
    await services.dead_letters.drop(request_id)
    return Accepted(
        id=request.id,
        request_id=request.id,
        session_id=request.session_id,
        events=f"/api/requests/{request.id}/events",
    )


@delete("/{request_id:str}")
async def drop_dead_letter(services: Services, request_id: IdPath) -> None:
    await services.dead_letters.drop(request_id)


router = Router(
    "/api/dead-letters",
    route_handlers=[list_dead_letters, retry_dead_letter, drop_dead_letter],
)
