"""`/api/sessions`: conversations, their turns, and asking something in one."""

import contextlib

import msgspec
from litestar import Response, Router, delete, get, patch, post

from appliance import keys
from appliance.access.flow import deadline_at_ms
from appliance.api.callers import Caller
from appliance.api.lists import Cursor, IdPath, Limit, UidPath
from appliance.api.permissions import own_uid
from appliance.api.sampling import sampling, wanted_grammar, wanted_logprobs
from appliance.api.services import Services
from appliance.bus.client import AWAY
from appliance.clock import now_ms
from appliance.schema.conversations import BranchPost, Session, SessionPatch, SessionPost
from appliance.schema.fields import DEFAULT_UID, Page
from appliance.schema.requests import TERMINAL_STATES, Accepted, MessagePost, Request


@post("/")
async def create_session(services: Services, caller: Caller, data: SessionPost) -> Session:
    model = await services.loader.resolve(data.model)
    return await services.people.sessions.create(own_uid(caller, data.uid), data.title, model)


@get("/")
async def list_sessions(
    services: Services,
    caller: Caller,
    uid: UidPath = DEFAULT_UID,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page:
    """A person's sessions, last active first."""
    page = await services.people.sessions.page(own_uid(caller, uid), cursor=cursor, limit=limit)
    warm = await services.warmth.warm_sessions()
    items = (msgspec.structs.replace(one, warm=one.id in warm) for one in page.items)
    return msgspec.structs.replace(page, items=tuple(items))


@get("/{session_id:str}")
async def read_session(services: Services, session_id: IdPath) -> Session:
    return await services.people.sessions.read(session_id)


@patch("/{session_id:str}")
async def change_session(services: Services, session_id: IdPath, data: SessionPatch) -> Session:
    """Another title, another model, or both."""
    model = data.model
    return await services.people.sessions.change(
        session_id,
        title=None if data.title is msgspec.UNSET else data.title,
        model=None if model is msgspec.UNSET else await services.loader.resolve(model),
    )


@delete("/{session_id:str}")
async def delete_session(services: Services, session_id: IdPath) -> None:
    """Cancels what the session still asks for and removes it with its turns."""
    session = await services.people.sessions.read(session_id)
    await services.cancelling.delete_session(session)


@post("/{session_id:str}/refresh", status_code=202)
async def refresh_session(services: Services, session_id: IdPath) -> None:
    """The next question begins with the profile and the fragments as they are then."""
    session = await services.people.sessions.read(session_id)
    await services.profiles.thaw(session.id)


@post("/{session_id:str}/warm", status_code=202)
async def warm_session(services: Services, session_id: IdPath) -> None:
    """Makes ready for the next question in the background, so that its answer begins sooner."""
    await services.warmth.ask(await services.people.sessions.read(session_id))


@post("/{session_id:str}/branch")
async def branch_session(services: Services, session_id: IdPath, data: BranchPost) -> Session:
    """A new session with the turns up to one that has ended; the old one stays as it is."""
    origin = await services.people.sessions.read(session_id)
    return await services.branches.branch(origin, data.turn_id, data.title)


@get("/{session_id:str}/turns")
async def list_turns(
    services: Services, session_id: IdPath, cursor: Cursor = None, limit: Limit = 50
) -> Page:
    """Message pairs in order; without a cursor the latest, with one those before."""
    session = await services.people.sessions.read(session_id)
    page = await services.people.turns.page(session.id, cursor=cursor, limit=limit)
    ended = [turn.id for turn in page.items if turn.state in TERMINAL_STATES]
    with contextlib.suppress(*AWAY):  # a store that takes no writes is read all the same
        await services.presence.seen(*ended)
    return page


@post("/{session_id:str}/messages", status_code=202)
async def post_message(
    services: Services, session_id: IdPath, data: MessagePost
) -> Response[Accepted]:
    """Accepts a question and returns at once; the answer is followed at `events`."""
    session = await services.people.sessions.read(session_id)
    request = Request(
        id=keys.new_request_id(session.id),
        uid=session.uid,
        session_id=session.id,
        text=data.text,
        sampling=sampling(
            services.settings.requests.defaults,
            data,
            grammar=await wanted_grammar(data.grammar, json_schema=data.json_schema),
            logit_bias=data.logit_bias,
            logprobs=wanted_logprobs(data.logprobs, data.top_logprobs),
        ),
        created_at_ms=now_ms(),
        deadline_at_ms=deadline_at_ms(services.settings, data.deadline_s),
        faq=data.faq,
        model=await services.loader.resolve(session.model),
        priority=data.priority,
    )
    await services.flow.accept(request, session)
    accepted = Accepted(
        id=request.id,
        request_id=request.id,
        session_id=session.id,
        events=f"/api/requests/{request.id}/events",
    )
    headers = await services.quotas.headers(session.uid)
    return Response(accepted, status_code=202, headers=headers)


router = Router(
    "/api/sessions",
    route_handlers=[
        create_session,
        list_sessions,
        read_session,
        change_session,
        delete_session,
        refresh_session,
        warm_session,
        branch_session,
        list_turns,
        post_message,
    ],
)
