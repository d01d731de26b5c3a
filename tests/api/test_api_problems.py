"""A bug is told in the one error shape, and what it says stays in the log."""

import logging
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar, get

from appliance.api.problems import EXCEPTION_HANDLERS

pytestmark = pytest.mark.unit


@get("/broken")
async def broken() -> None:
    raise RuntimeError("secret /path")


async def test_a_bug_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    application = Litestar(
        route_handlers=[broken],
        exception_handlers=EXCEPTION_HANDLERS,
        debug=False,
        logging_config=None,
    )
    # The types of ASGI are written down twice, and differ.
    transport = httpx.ASGITransport(cast(Any, application), raise_app_exceptions=False)
    with caplog.at_level(logging.ERROR):
        async with httpx.AsyncClient(transport=transport, base_url="http://sluice") as client:
            answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert answer.json()["error"]["hint"]
    assert "secret" not in answer.text
    assert "/path" not in answer.text
    assert "secret /path" in caplog.text
