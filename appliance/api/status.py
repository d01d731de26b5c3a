"""Health, readiness and the state of every part."""

from collections.abc import Mapping

from litestar import Response, Router, get

from appliance.api.services import Services
from appliance.schema.fields import Record
from appliance.schema.status import Status


class Health(Record, frozen=True, kw_only=True):
    status: str


class Readiness(Record, frozen=True, kw_only=True):
    """`checks` names each part that keeps the appliance from answering, and why."""

    ready: bool
    checks: Mapping[str, str]


@get("/healthz")
async def healthz() -> Health:
    """The process answers. Needs no key and says nothing else."""
    return Health(status="ok")


@get("/readyz")
async def readyz(services: Services) -> Response[Readiness]:
    """200 when questions can be answered, 503 with the reasons otherwise."""
    checks = await services.readiness()
    body = Readiness(ready=not checks, checks=checks)
    return Response(body, status_code=503 if checks else 200)


@get("/api/status")
async def read_status(services: Services) -> Status:
    """Children, workers, queue and index."""
    return await services.status()


router = Router("/", route_handlers=[healthz, readyz, read_status])
