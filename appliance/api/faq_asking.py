"""`/api/faq/test`, `/calibration`, `/reindex`: what the FAQ would do with a question, and why."""

from litestar import Router, get, post

from appliance.api.services import Services
from appliance.schema.faq import Calibration, FaqTest, FaqTestPost
from appliance.schema.status import FaqStatus


@post("/test", status_code=200)
async def try_question(services: Services, data: FaqTestPost) -> FaqTest:
    """What would happen to this question: scores, decision, and the answer or the prompt."""
    return await services.knowledge.rehearsal.tried(data.question, data.uid)


@get("/calibration")
async def read_calibration(services: Services) -> Calibration:
    """What the scores mean for this FAQ and the embedding model in use."""
    return services.knowledge.retrieval.calibration


@post("/reindex", status_code=202)
async def rebuild_index(services: Services) -> FaqStatus:
    """Makes every vector anew while the present ones serve; `/api/status` tells how far it is."""
    services.knowledge.index.rebuild()
    return await services.knowledge.index.status()


router = Router("/api/faq", route_handlers=[try_question, read_calibration, rebuild_index])
