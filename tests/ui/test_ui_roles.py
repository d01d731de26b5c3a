"""With a key that is not the operator's: what it may do works, and what it may not is said."""

import pytest
from stub_api import NOW_MS, StubApi, problem
from ui_driver import running

from appliance.errors import Forbidden, Unauthorized
from appliance.schema.answers import Match
from appliance.schema.conversations import Turn
from appliance.schema.inbox import InboxMessage
from appliance.schema.people import Me
from ui.link import Link, LinkState, shuts_out
from ui.texts import texts_for
from ui.wording import link_banner, link_word

pytestmark = pytest.mark.ui

FORBIDDEN = problem(
    403, "unauthorized", "a key of the role person may not do this", reason="role_may_not"
)
FOREIGN = Forbidden("this Host is not served here", reason="foreign_host")


@pytest.fixture
def ana(api: StubApi) -> StubApi:
    """The stub behind the key of a person, who has a message."""
    api.me = Me(role="person", name="Ana", uid="ana")
    api.inbox = {
        "m-1": InboxMessage(
            id="m-1", text="For you", sender="crm", sent_at_ms=NOW_MS, expires_at_ms=2 * NOW_MS
        )
    }
    for path in ("/api/faq", "/api/faq/e-1", "/api/status", "/api/setup", "/api/logs"):
        api.overrides["GET", path] = FORBIDDEN
    api.overrides["GET", "/api/users/local/inbox/events"] = problem(
        404, "not_found", "no user local", reason="not_yours"
    )
    return api


async def test_a_persons_inbox_is_their_own(ana: StubApi) -> None:
    async with running(ana) as sluice:
        await sluice.sees("F9 Inbox 1")
        await sluice.press("f9")
        await sluice.sees("For you")
        await sluice.press("a")
        await sluice.sees("unread: 0")
    assert ana.calls("POST", "/api/users/ana/inbox/ack")
    assert not ana.calls("GET", "/api/users/local/inbox")


async def test_a_person_is_offered_the_places_that_their_key_may_use(ana: StubApi) -> None:
    async with running(ana) as sluice:
        await sluice.sees("F9 Inbox 1", "F2 Chat")
        await sluice.sees_no("F3 FAQ")
        await sluice.press("f3")
        await sluice.sees("FAQ is not for this key", "ready")
        assert not ana.calls("GET", "/api/faq")
        assert not ana.calls("GET", "/api/setup")


async def test_an_entry_that_a_key_may_not_read_is_shown_as_it_was_cited(ana: StubApi) -> None:
    match = Match(
        id="e-1",
        question="Which door?",
        phrasing="Which door?",
        answer="The blue one.",
        category="",
        language="en",
        score=0.9,
    )
    turn = Turn(
        id="r-1",
        created_at_ms=NOW_MS,
        question="Where?",
        answer="There [1].",
        state="done",
        matches=(match,),
    )
    ana.add_session("Doors", turn)
    async with running(ana) as sluice:
        await sluice.sees("F9 Inbox 1", "Doors")
        await sluice.press("ctrl+down")
        await sluice.sees("There")
        await sluice.press("ctrl+b", "o")
        await sluice.sees("As this entry read", "The blue one.")
        await sluice.press("escape")
        await sluice.sees("● ready")


async def test_what_a_key_may_not_do_ends_nothing(ana: StubApi) -> None:
    ana.overrides["POST", "/api/sessions"] = FORBIDDEN
    async with running(ana) as sluice:
        await sluice.sees("F9 Inbox 1")
        await sluice.type("Hello?")
        await sluice.press("enter")
        await sluice.sees("This key may not do that", "ready")
        del ana.overrides["POST", "/api/sessions"]
        await sluice.press("enter")
        await sluice.until(lambda: ana.streams)


def test_only_who_is_not_let_in_at_all_is_shut_out() -> None:
    assert shuts_out(Unauthorized("a valid key is needed", reason="no_key"))
    assert shuts_out(FOREIGN)
    assert not shuts_out(Forbidden("no", reason="role_may_not"))


async def test_a_foreign_host_name_is_told_with_the_setting_that_serves_it() -> None:
    async def ask() -> None:
        raise FOREIGN

    told: list[LinkState] = []
    await Link(ask, tell=told.append).watch()  # type: ignore[arg-type]  # it never answers
    (state,) = told
    for language, word in (("en", "refused"), ("zh", "被拒绝")):
        texts = texts_for(language)
        banner = link_banner(texts, state, "https://faq.example")
        assert "https://faq.example" in banner
        assert "server.allowed_hosts" in banner
        assert link_word(texts, state) == word
