"""What each role may do: what is not in the table is the operator's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.api.callers import ADMIN, Caller
from appliance.api.permissions import needed, own_uid
from appliance.errors import Forbidden

pytestmark = pytest.mark.unit

LIN = Caller("person", "Lin", "lin")
CRM = Caller("service", "crm")


@pytest.mark.parametrize(
    ("method", "path", "owner", "what"),
    [
        ("GET", "/api/users/mei", "uid", "mei"),
        ("DELETE", "/api/users/mei", "uid", "mei"),
        ("GET", "/api/users/mei/inbox/events", "uid", "mei"),
        ("POST", "/api/users/mei/inbox/ack/", "uid", "mei"),
        ("GET", "/api/users/mei/export", "uid", "mei"),
        ("GET", "/api/sessions/s1", "session", "s1"),
        ("POST", "/api/sessions/s1/messages", "session", "s1"),
        ("POST", "/api/sessions/s1/branch", "session", "s1"),
        ("GET", "/api/requests/s1-2/events", "request", "s1-2"),
        ("DELETE", "/api/requests/s1-2", "request", "s1-2"),
    ],
)
def test_a_person_needs_to_own_what_the_path_names(
    method: str, path: str, owner: str, what: str
) -> None:
    need = needed(LIN, method, path)
    assert (need.owner, need.id) == (owner, what)


@pytest.mark.parametrize(
    ("caller", "method", "path"),
    [
        (LIN, "POST", "/api/keys"),
        (CRM, "GET", "/api/keys"),
        (CRM, "GET", "/api/settings"),
        (CRM, "PATCH", "/api/settings"),
        (LIN, "GET", "/api/users"),
        (LIN, "PUT", "/api/users/lin"),
        (LIN, "PUT", "/api/users/lin/tags/vip"),
        (LIN, "POST", "/api/users/lin/inbox"),
        (LIN, "GET", "/api/status"),
        (LIN, "POST", "/api/faq"),
        (LIN, "GET", "/api/fragments"),
        (LIN, "GET", "/api/users/lin/prompt"),
        (CRM, "GET", "/api/users/lin/inbox"),
        (CRM, "GET", "/api/users/lin/export"),
        (CRM, "DELETE", "/api/users/lin"),
        (CRM, "POST", "/api/models/x/unload"),
        (CRM, "GET", "/api/dead-letters"),
        (LIN, "GET", "//api/users/lin"),
        (LIN, "GET", "/api/users/lin/../mei"),
        (LIN, "GET", "/api/users/LIN"),
        (LIN, "HEAD", "/api/users/mei"),
    ],
)
def test_what_is_not_in_the_table_is_refused(caller: Caller, method: str, path: str) -> None:
    with pytest.raises(Forbidden):
        needed(caller, method, path)
    assert needed(ADMIN, method, path).owner == ""


@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]), st.text(max_size=60))
def test_no_path_that_names_a_user_is_open_to_others(method: str, rest: str) -> None:
    try:
        need = needed(LIN, method, f"/api/users/mei{rest}")
    except Forbidden:
        return
    assert need.owner == "uid"
    assert need.id.startswith("mei")


@pytest.mark.parametrize("caller", [ADMIN, CRM, LIN])
def test_every_key_may_ask_whose_it_is(caller: Caller) -> None:
    assert needed(caller, "GET", "/api/me").owner == ""


def test_a_person_is_who_they_are() -> None:
    assert own_uid(LIN, "local") == own_uid(LIN, "lin") == "lin"
    assert own_uid(CRM, "mei") == own_uid(ADMIN, "mei") == "mei"
    with pytest.raises(Forbidden):
        own_uid(LIN, "mei")
