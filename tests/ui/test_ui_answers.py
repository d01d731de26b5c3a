"""What the server's refusals become."""

import msgspec
import pytest

from appliance.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Overloaded,
    SluiceError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    WaitedOut,
)
from appliance.schema.conversations import Session
from appliance.schema.problems import ErrorBody, ErrorDetail
from ui.answers import BAD_ANSWER, Listing, parse, refusal

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid", Invalid),
        (405, "invalid", Invalid),
        (413, "invalid", TooLarge),
        (415, "invalid", UnsupportedMedia),
        (401, "unauthorized", Unauthorized),
        (403, "unauthorized", Forbidden),
        (404, "not_found", NotFound),
        (409, "conflict", Conflict),
        (429, "overloaded", Overloaded),
        (408, "overloaded", WaitedOut),
        (503, "unavailable", Unavailable),
        (500, "internal", SluiceError),
        (500, "a_new_code", SluiceError),
    ],
)
def test_a_refusal_is_the_error_of_its_code(
    status: int, code: str, kind: type[SluiceError]
) -> None:
    detail = ErrorDetail(code=code, message="m", hint="h", reason="r", retry_after_s=2.5)
    error = refusal(status, msgspec.json.encode(ErrorBody(error=detail)))
    assert type(error) is kind
    assert (error.message, error.hint, error.reason, error.retry_after_s) == ("m", "h", "r", 2.5)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFound), (502, Unavailable), (504, Unavailable), (418, Invalid), (599, SluiceError)],
)
def test_the_status_serves_where_the_body_is_not_ours(status: int, kind: type[SluiceError]) -> None:
    assert type(refusal(status, b"<html>\xff</html>")) is kind


def test_an_answer_that_is_no_record_is_an_error_with_a_reason() -> None:
    for content in (b"", b"{", b'{"items": 3}', b"\xff"):
        with pytest.raises(SluiceError) as caught:
            parse(content, Listing[Session])
        assert caught.value.reason == BAD_ANSWER


def test_fields_of_a_newer_server_are_passed_over() -> None:
    assert parse(b'{"items": [], "cursor": null, "total": 3}', Listing[Session]) == Listing()
