"""`/api/models`: what may be asked for, and loading and unloading by the operator.

The name stands in the path as one part; it is looked up, never used as a path.
"""

from typing import Annotated

from litestar import Router, get, post
from litestar.params import Parameter

from appliance.api.services import Services
from appliance.schema.fields import Page
from appliance.schema.status import ModelStatus

NamePath = Annotated[str, Parameter(max_length=200)]


@get("/")
async def list_models(services: Services) -> Page:
    """Every chat model with its state, the chat model of the settings first."""
    return Page(items=await services.loader.statuses())


@post("/{name:str}/load", status_code=202)
async def load_model(services: Services, name: NamePath) -> ModelStatus:
    """Begins to load a model that nobody has asked for yet; loading it again changes nothing."""
    return await services.loader.load(name)


@post("/{name:str}/unload", status_code=202)
async def unload_model(services: Services, name: NamePath) -> ModelStatus:
    """Unloads a model that nobody uses; 409 while somebody does."""
    return await services.loader.unload(name)


router = Router("/api/models", route_handlers=[list_models, load_model, unload_model])
