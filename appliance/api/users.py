"""`/api/users`: profile attributes and tags."""

from typing import Annotated

from litestar import Router, delete, get, patch, put
from litestar.params import Parameter
from litestar.response import Stream

from appliance.api.callers import Caller
from appliance.api.lists import UidPath
from appliance.api.services import Services
from appliance.errors import Forbidden, Invalid
from appliance.people.tags import Source, check_own
from appliance.schema.fields import Page
from appliance.schema.people import Erased, PromptPreview, TagPut, User, UserPatch, UserPut
from appliance.schema.status import Quota

USERS_AT_ONCE = 100
TagPath = Annotated[str, Parameter(min_length=1, max_length=64)]


def source_of(caller: Caller) -> Source:
    """Whose word a tag is: the operator's, or that of a service which registers people."""
    return "operator" if caller.role == "admin" else "registration"


@get("/")
async def read_users(
    services: Services,
    ids: Annotated[str, Parameter(max_length=8_000, description="User ids, comma-separated.")],
) -> Page:
    """Up to 100 users in one call; unknown ones are left out."""
    uids = [uid for uid in ids.split(",") if uid]
    if len(uids) > USERS_AT_ONCE:
        raise Invalid(
            f"ids: at most {USERS_AT_ONCE} users are read in one call, not {len(uids)}",
            hint="ask for the rest in another call",
            reason="too_many_users",
            facts={"bound": USERS_AT_ONCE},
        )
    return Page(items=await services.people.users.read_many(uids))


@get("/{uid:str}")
async def read_user(services: Services, uid: UidPath) -> User:
    return await services.people.users.read(uid)


@put("/{uid:str}")
async def replace_user(services: Services, caller: Caller, uid: UidPath, data: UserPut) -> User:
    """Attributes and tags anew; tags that rules or the background job give stay."""
    return await services.people.users.replace(uid, data, source=source_of(caller))


@patch("/{uid:str}")
async def change_user(services: Services, caller: Caller, uid: UidPath, data: UserPatch) -> User:
    """Sets what is given; an attribute of null is removed. A person's own key sets only what the
    schema lets people set, and no tags."""
    if caller.role == "person":
        check_own(data, services.settings.people.attributes)
    return await services.people.users.change(uid, data, source=source_of(caller))


@put("/{uid:str}/tags/{tag:str}")
async def put_tag(
    services: Services, caller: Caller, uid: UidPath, tag: TagPath, data: TagPut
) -> User:
    """Puts one tag on, with a note why; it may have been taken off before."""
    await services.people.users.tag(uid, [tag], data.note, source=source_of(caller))
    return await services.people.users.read(uid)


@delete("/{uid:str}/tags/{tag:str}", status_code=200)
async def delete_tag(services: Services, caller: Caller, uid: UidPath, tag: TagPath) -> User:
    """Takes a tag off, whatever its source; neither a rule nor the job puts it on again. People
    take off what the job found out about them."""
    if caller.role == "person":
        held = {one.name: one.source for one in (await services.people.users.read(uid)).details}
        if held.get(tag, "job") != "job":
            raise Forbidden(
                "this tag is the operator's",
                hint="ask the operator to take it off",
                reason="tag_of_operator",
            )
    return await services.people.users.untag(uid, tag)


@get("/{uid:str}/export", media_type="application/json")
async def export_user(services: Services, uid: UidPath) -> Stream:
    """Everything held about a person, as one JSON object."""
    return Stream(
        services.erasure.export(uid),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{uid}.json"'},
    )


@delete("/{uid:str}", status_code=200)
async def erase_user(services: Services, uid: UidPath) -> Erased:
    """Removes everything held about a person, their keys too; what runs is cancelled first."""
    return await services.erasure.erase(uid)


@get("/{uid:str}/prompt")
async def preview_prompt(services: Services, uid: UidPath) -> PromptPreview:
    """The system message that a new session of this person would begin with, and why."""
    return await services.profiles.preview(uid)


@get("/{uid:str}/quota")
async def read_quota(services: Services, uid: UidPath) -> Quota:
    """What the user may still use, and what of it is used or reserved."""
    return await services.quotas.read(uid)


router = Router(
    "/api/users",
    route_handlers=[
        read_users,
        read_user,
        replace_user,
        change_user,
        put_tag,
        delete_tag,
        export_user,
        erase_user,
        preview_prompt,
        read_quota,
    ],
)
