"""What the server's answers mean: a body as a record, a refusal as an error.

The status narrows the code of the one error shape (413 is `TooLarge`, not just `Invalid`), and
serves alone when something between us and the server answered without that shape.
"""

from typing import Final, Generic, TypeVar

import msgspec

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
from appliance.schema.problems import ErrorBody

BAD_ANSWER: Final = "bad_answer"
UNREACHABLE: Final = "unreachable"
UNSAFE: Final = "unsafe"  # the fact that says why there is no TLS connection

T = TypeVar("T")

_KINDS: Final[tuple[type[SluiceError], ...]] = (
    Invalid,
    Unauthorized,
    NotFound,
    Conflict,
    Overloaded,
    Unavailable,
    SluiceError,
)
_NARROWER: Final[tuple[type[SluiceError], ...]] = (
    TooLarge,
    UnsupportedMedia,
    Forbidden,
    WaitedOut,
)
_BY_CODE: Final = {error.code: error for error in _KINDS}
_BY_STATUS: Final[dict[int, type[SluiceError]]] = {
    **{error.http_status: error for error in (*_KINDS, *_NARROWER)},
    502: Unavailable,  # a proxy between us and the server
    504: Unavailable,
}


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `cursor` asks for the next, None at the end."""

    items: tuple[T, ...] = ()
    cursor: str | None = None


class Readiness(msgspec.Struct, frozen=True):
    """Whether the appliance can answer, and what each part says of itself."""

    ready: bool
    checks: dict[str, str] = {}


def parse(content: bytes | str, kind: type[T]) -> T:
    """The record in `content`. Raises `SluiceError` with the reason `BAD_ANSWER`."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SluiceError(
            f"the server's answer is not understood: {error}",
            hint="this program and the server may be of different versions",
            reason=BAD_ANSWER,
        ) from error


def refusal(status: int, content: bytes) -> SluiceError:
    """The error that an answer with `status` >= 400 stands for."""
    by_status = _BY_STATUS.get(status)
    try:
        detail = msgspec.json.decode(content, type=ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        kind = by_status or (Invalid if status < 500 else SluiceError)
        return kind(f"the server answered with status {status}")
    kind = _BY_CODE.get(detail.code, SluiceError)
    if by_status is not None and issubclass(by_status, kind):
        kind = by_status
    return kind(
        detail.message,
        hint=detail.hint,
        reason=detail.reason,
        retry_after_s=detail.retry_after_s,
        facts=detail.facts,
    )
