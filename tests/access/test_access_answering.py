"""Answers without a model, on a real store: whom nobody is asked for, and what a draft is."""

from typing import Any

import pytest

from appliance import keys
from appliance.access.answering import Answering
from appliance.bus import scripts
from appliance.bus.client import Bus
from appliance.schema.curation import DRAFTS_UID
from appliance.schema.events import Received, Retrieved
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling
from appliance.settings import Settings
from appliance.settings.faq import Faq

pytestmark = pytest.mark.integration

NOTHING = Retrieved(matches=(), decision="no_answer")


class Persons:
    """Stands in for those who are asked: they take every question."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def asked(self, request: Request, embedded: object) -> bool:
        self.heard.append(request.id)
        return True


def answering(bus: Bus, persons: Persons) -> Answering:
    settings = Settings(faq=Faq(no_answer="person"))
    return Answering(bus, None, persons, settings)  # type: ignore[arg-type]


async def accepted(bus: Bus, **more: Any) -> Request:
    fields = {"id": keys.new_request_id(), "uid": "ann", "text": "Why?"} | more
    request = Request(**fields, sampling=Sampling(), created_at_ms=1, deadline_at_ms=2)
    received = Received(request_id=request.id, session_id="", created_at_ms=1)
    await scripts.submit(bus, request, received, turns_kept=9, question=b"")
    return request


async def test_the_lowest_class_is_no_way_around_what_is_said_without_an_answer(bus: Bus) -> None:
    persons = Persons()
    request = await accepted(bus, priority="background")
    assert await answering(bus, persons).ended(request, NOTHING)
    assert persons.heard == [request.id]


async def test_a_draft_is_left_to_the_model(bus: Bus) -> None:
    persons = Persons()
    request = await accepted(bus, uid=DRAFTS_UID, priority="background")
    assert not await answering(bus, persons).ended(request, NOTHING)
    assert persons.heard == []


async def test_nobody_is_asked_for_who_was_erased(bus: Bus) -> None:
    persons = Persons()
    request = await accepted(bus)
    await bus.delete(keys.request(request.id))
    assert not await answering(bus, persons).ended(request, NOTHING)
    assert persons.heard == []
