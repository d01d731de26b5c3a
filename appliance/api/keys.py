"""`/api/keys`: keys of people and services; the operator's own is in admin.key."""

from litestar import Router, delete, get, post

from appliance.api.lists import IdPath
from appliance.api.services import Services
from appliance.schema.fields import Page
from appliance.schema.people import ApiKeyPost, NewApiKey


@post("/")
async def create_key(services: Services, data: ApiKeyPost) -> NewApiKey:
    """A new key, with `days` one that expires. Its secret is in this answer and nowhere else."""
    return await services.api_keys.create(data)


@get("/")
async def list_keys(services: Services) -> Page:
    """Every key without its secret, expired ones too, the oldest first."""
    return Page(items=await services.api_keys.all())


@delete("/{key_id:str}")
async def delete_key(services: Services, key_id: IdPath) -> None:
    """The key is refused from now on; streams that it follows end with their connection."""
    await services.api_keys.delete(key_id)


router = Router("/api/keys", route_handlers=[create_key, list_keys, delete_key])
