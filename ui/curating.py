"""The calls that judge and mend the FAQ, over the client's connection."""

from appliance.schema import FaqTest, FaqTestPost
from ui.client import Client


class Curating:
    """Questions tried on the FAQ as the client's own person would ask them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def try_question(self, question: str) -> FaqTest:
        """What would happen to the question; nothing is asked of a model or kept."""
        body = FaqTestPost(question=question, uid=self._client.uid)
        return await self._client.write("POST", "/api/faq/test", FaqTest, body)
