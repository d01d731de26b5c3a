"""`/api/logs`: the last lines of the log, for the operator."""

from typing import Annotated

from litestar import Router, get
from litestar.params import Parameter

from appliance.api.callers import Caller
from appliance.api.services import Services
from appliance.errors import Forbidden
from appliance.schema.logs import LogLevel, LogPage

Words = Annotated[str, Parameter(query="q", max_length=200, description="Text in the line.")]
After = Annotated[int, Parameter(ge=0, description="Only lines with a larger number.")]
LogLimit = Annotated[int, Parameter(ge=1, le=1_000, description="The newest so many lines.")]


@get("/")
async def read_logs(
    services: Services,
    caller: Caller,
    words: Words = "",
    level: LogLevel = "info",
    after: After = 0,
    limit: LogLimit = 200,
) -> LogPage:
    """Lines of at least `level`, the newest `limit` of them in order. `log.kept_lines` are kept."""
    if caller.role != "admin":
        raise Forbidden(
            "only the operator reads logs", hint="use the key in admin.key", reason="operator_only"
        )
    return services.logs.read(level=level, words=words, after=after, limit=limit)


router = Router("/api/logs", route_handlers=[read_logs])
