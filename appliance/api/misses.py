"""`/api/faq/misses`: questions without a good answer, and how they get one."""

from typing import Annotated

from litestar import Router, get, post
from litestar.params import Parameter

from appliance.access.flow import deadline_at_ms
from appliance.api.callers import Caller
from appliance.api.lists import Cursor, IdPath, Limit
from appliance.api.sampling import sampling
from appliance.api.services import Services
from appliance.clock import now_ms
from appliance.keys import new_request_id
from appliance.people.cursors import decode_offset, encode_offset
from appliance.schema.curation import DRAFTS_UID, Miss, MissAnswer, MissPromote, MissState
from appliance.schema.faq import Entry
from appliance.schema.fields import Page
from appliance.schema.requests import Accepted, ChatMessage, Request

SETTLE_TIMEOUT_S = 10.0
DRAFT_ORDER = (
    "You write answers for an organisation's FAQ. Answer the question in the language of the "
    "question, in at most five sentences, from the FAQ entries that are given. Where they do not "
    "say it, leave a blank in square brackets for a colleague to fill in. "
    "你为机构的常见问题撰写答案。用提问的语言回答，最多五句，只依据给出的条目；"
    "条目没有说明的地方，用方括号留空，由同事补充。"
)

InState = Annotated[
    MissState, Parameter(query="state", description="open, promoted, answered or dismissed.")
]


@get("/")
async def list_misses(
    services: Services, in_state: InState = "open", cursor: Cursor = None, limit: Limit = 50
) -> Page:
    """Groups of questions that mean the same, the most asked first."""
    skip = decode_offset(cursor)
    found = services.knowledge.misses.listed(in_state)
    more = len(found) > skip + limit
    items = tuple(found[skip : skip + limit])
    return Page(items=items, cursor=encode_offset(skip + limit) if more else None)


@get("/{miss_id:str}")
async def read_miss(services: Services, miss_id: IdPath) -> Miss:
    return services.knowledge.misses.find(miss_id)


@post("/{miss_id:str}/promote")
async def promote_miss(
    services: Services, caller: Caller, miss_id: IdPath, data: MissPromote
) -> Entry:
    """Makes an entry of it, or adds its phrasings to an entry; who asked is told in the inbox once
    the entry is published."""
    entry = await services.knowledge.promotion.promote(miss_id, data, by=caller.name)
    await services.knowledge.index.settled([entry.id], SETTLE_TIMEOUT_S)
    return entry


@post("/{miss_id:str}/answer", status_code=200)
async def answer_miss(services: Services, miss_id: IdPath, data: MissAnswer) -> Miss:
    """Answers who asked, in the inbox and in the session of those who were told that a person has
    been asked; the FAQ stays as it is."""
    return await services.knowledge.promotion.answer(miss_id, data)


@post("/{miss_id:str}/draft", status_code=202)
async def draft_answer(services: Services, miss_id: IdPath) -> Accepted:
    """Has the model write a draft, in the lowest class; follow `events` for its text."""
    miss = services.knowledge.misses.find(miss_id)
    defaults = services.settings.requests.defaults
    request = Request(
        id=new_request_id(),
        uid=DRAFTS_UID,
        text=miss.question,
        messages=(
            ChatMessage(role="system", content=DRAFT_ORDER, public_chars=len(DRAFT_ORDER)),
            ChatMessage(role="user", content=miss.question),
        ),
        sampling=sampling(defaults, defaults),
        created_at_ms=now_ms(),
        deadline_at_ms=deadline_at_ms(services.settings, None),
        priority="background",
    )
    await services.flow.accept(request)
    return Accepted(
        id=request.id,
        request_id=request.id,
        session_id="",
        events=f"/api/requests/{request.id}/events",
    )


@post("/{miss_id:str}/dismiss", status_code=200)
async def dismiss_miss(services: Services, miss_id: IdPath) -> Miss:
    """Takes it and what is asked like it out of the list; `reopen` brings it back."""
    return await services.knowledge.misses.change(miss_id, state="dismissed")


@post("/{miss_id:str}/reopen", status_code=200)
async def reopen_miss(services: Services, miss_id: IdPath) -> Miss:
    return await services.knowledge.misses.change(miss_id, state="open", told=False)


router = Router(
    "/api/faq/misses",
    route_handlers=[
        list_misses,
        read_miss,
        promote_miss,
        answer_miss,
        draft_answer,
        dismiss_miss,
        reopen_miss,
    ],
)
