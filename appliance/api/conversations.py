"""`/api/search` and the export of sessions: finding and keeping what was said."""

from typing import Annotated, Literal

from litestar import Response, Router, get
from litestar.params import Parameter

from appliance.api.callers import Caller
from appliance.api.lists import IdPath, Limit, UidPath
from appliance.api.permissions import own_uid
from appliance.api.services import Services
from appliance.people.transcripts import as_json, as_markdown
from appliance.schema.conversations import Hits
from appliance.schema.fields import DEFAULT_UID
from appliance.schema.inbox import Related

Query = Annotated[str, Parameter(min_length=1, max_length=200)]
Form = Annotated[Literal["json", "markdown"], Parameter(query="format")]


@get("/api/search")
async def search_conversations(
    services: Services, caller: Caller, q: Query, uid: UidPath = DEFAULT_UID, limit: Limit = 50
) -> Hits:
    """Titles, questions and answers of one person that hold all words of `q`, the newest first."""
    return await services.search.find(own_uid(caller, uid), q, limit)


@get("/api/sessions/{session_id:str}/export")
async def export_session(
    services: Services, session_id: IdPath, file_format: Form = "json"
) -> Response[bytes]:
    """The whole conversation as a file, for programs or for people."""
    session = await services.people.sessions.read(session_id)
    kept = services.settings.sessions.turns_kept
    turns = await services.people.turns.latest(session_id, kept)
    as_is = file_format == "json"
    body = as_json(session, turns) if as_is else as_markdown(session, turns)
    name = f"{session_id}.{'json' if as_is else 'md'}"
    return Response(
        body,
        media_type="application/json" if as_is else "text/markdown; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@get("/api/requests/{request_id:str}/related")
async def related_questions(services: Services, request_id: IdPath) -> Related:
    """Questions that the FAQ answers too, near the one that was hit and not asked before."""
    status = await services.flow.status(request_id)
    session = await services.people.sessions.read(status.session_id)
    turns = await services.people.turns.latest(session.id, services.settings.sessions.turns_kept)
    return await services.afterwards.related(session, turns, request_id)


router = Router("/", route_handlers=[search_conversations, export_session, related_questions])
