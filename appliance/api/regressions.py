"""`/api/faq/regressions`: questions asked again after every change, and what flipped."""

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.params import Parameter

from appliance.api.lists import IdPath
from appliance.api.services import Services
from appliance.schema.curation import Regression, RegressionPost, RegressionPreview
from appliance.schema.faq import EntryPut
from appliance.schema.fields import END, ID, Page

RUN_TIMEOUT_S = 60.0

PreviewedId = Annotated[str, Parameter(pattern=f"^({ID})?{END}", max_length=63)]


@get("/")
async def list_regressions(services: Services) -> Page:
    """Saved questions with what they found last, those that fail first."""
    return Page(items=tuple(await services.knowledge.regressions.listed()))


@post("/")
async def save_regression(services: Services, data: RegressionPost) -> Regression:
    """Saves a question and asks it at once."""
    return await services.knowledge.regressions.add(data)


@get("/runs")
async def list_runs(services: Services) -> Page:
    """The last run and those in which a question flipped, newest first."""
    return Page(items=tuple(await services.knowledge.regressions.runs()))


@post("/run", status_code=200)
async def run_regressions(services: Services) -> Page:
    """Asks all of them now, waits for the end up to a minute, and answers the runs."""
    await services.knowledge.regressions.settled(RUN_TIMEOUT_S)
    return Page(items=tuple(await services.knowledge.regressions.runs()))


@post("/preview", status_code=200)
async def preview_entry(
    services: Services, data: EntryPut, entry_id: PreviewedId = ""
) -> RegressionPreview:
    """What would flip if this entry were published, before it is: nothing is stored. `entry_id`
    names the entry in whose place it would be; without one it is a new entry."""
    return await services.knowledge.regressions.previewed(data, entry_id)


@delete("/{regression_id:str}")
async def delete_regression(services: Services, regression_id: IdPath) -> None:
    await services.knowledge.regressions.delete(regression_id)


router = Router(
    "/api/faq/regressions",
    route_handlers=[
        list_regressions,
        save_regression,
        list_runs,
        run_regressions,
        preview_entry,
        delete_regression,
    ],
)
