"""`/api/fragments`: the operator's words in the prompts of people with certain tags."""

from litestar import Router, delete, get, put

from appliance.api.lists import IdPath
from appliance.api.services import Services
from appliance.schema.fields import Page
from appliance.schema.people import Fragment, FragmentPut


@get("/")
async def list_fragments(services: Services) -> Page:
    """All of them in the order of prompts."""
    return Page(items=await services.fragments.all())


@get("/{name:str}")
async def read_fragment(services: Services, name: IdPath) -> Fragment:
    return await services.fragments.read(name)


@put("/{name:str}")
async def put_fragment(services: Services, name: IdPath, data: FragmentPut) -> Fragment:
    """Creates or replaces it. Sessions that have begun keep what they began with."""
    return await services.fragments.put(name, data)


@delete("/{name:str}")
async def delete_fragment(services: Services, name: IdPath) -> None:
    await services.fragments.delete(name)


router = Router(
    "/api/fragments",
    route_handlers=[list_fragments, read_fragment, put_fragment, delete_fragment],
)
