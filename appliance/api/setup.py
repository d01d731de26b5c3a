"""`/api/setup`: what the first start asks, and downloading models; for the operator alone."""

from litestar import Router, get, post, put

from appliance.api.services import Services
from appliance.schema.setup import DownloadPost, DownloadStatus, SetupPut, SetupStatus


@get("/")
async def read_setup(services: Services) -> SetupStatus:
    """Whether the first start's questions were answered, and the models that could be used here."""
    return await services.setup.status()


@put("/")
async def change_setup(data: SetupPut, services: Services) -> SetupStatus:
    """Another chat model is taken into use by a restart, which running answers outlive."""
    return await services.setup.put(data)


@post("/download", status_code=202)
async def start_download(data: DownloadPost, services: Services) -> DownloadStatus:
    """Begins to fetch weights, or goes on with what has arrived; one download at a time."""
    return services.setup.downloads.start(data.name)


@post("/download/pause", status_code=202)
async def pause_download(services: Services) -> DownloadStatus:
    """What has arrived is kept; `start` goes on from there, after a restart too."""
    return services.setup.downloads.pause()


router = Router(
    "/api/setup", route_handlers=[read_setup, change_setup, start_download, pause_download]
)
