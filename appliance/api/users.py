"""`/api/users`: profile attributes and tags."""

from typing import Annotated

from litestar import Router, get, patch, put
from litestar.params import Parameter

from appliance.api.lists import UidPath
from appliance.api.services import Services
from appliance.schema import Page, Quota, User, UserPatch, UserPut


@get("/")
async def read_users(
    services: Services,
    ids: Annotated[str, Parameter(max_length=8_000, description="User ids, comma-separated.")],
) -> Page:
    """Several users in one call; unknown ones are left out."""
    uids = [uid for uid in ids.split(",") if uid][:100]
    return Page(items=await services.people.users.read_many(uids))


@get("/{uid:str}")
async def read_user(services: Services, uid: UidPath) -> User:
    return await services.people.users.read(uid)


@put("/{uid:str}")
async def replace_user(services: Services, uid: UidPath, data: UserPut) -> User:
    return await services.people.users.replace(uid, data)


@patch("/{uid:str}")
async def change_user(services: Services, uid: UidPath, data: UserPatch) -> User:
    return await services.people.users.change(uid, data)


@get("/{uid:str}/quota")
async def read_quota(services: Services, uid: UidPath) -> Quota:
    """What the user may still use, and what of it is used or reserved."""
    return await services.quotas.read(uid)


router = Router(
    "/api/users",
    route_handlers=[read_users, read_user, replace_user, change_user, read_quota],
)
