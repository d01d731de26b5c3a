"""The error tree, and the one table that turns its codes into HTTP and exit statuses.

    SluiceError                 carries facts; the edge words them
    ├─ Invalid                  the request cannot be understood or is out of bounds
    │  ├─ TooLarge              ... because it is bigger than a stated bound
    │  └─ UnsupportedMedia      ... because its content type is not taken here
    ├─ Unauthorized             no key, or not the right one
    ├─ Forbidden                a caller that may not talk to us at all (foreign Host or Origin)
    ├─ NotFound                 the named thing does not exist, or not for you
    ├─ Conflict                 the thing is in a state that forbids this
    │  └─ AlreadyRunning        ... because another appliance has the data directory
    ├─ Overloaded               later, not now: carries `reason` and `retry_after_s`
    │  └─ WaitedOut             ... the deadline passed while waiting
    ├─ Unavailable              a part of the appliance is away
    │  └─ StoreFull             ... to writes only: no memory or disk is left for them
    └─ CannotBoot               a process cannot start as configured; restarting will not help

Raise where the fact is known, catch where something can be done, convert at the edge.
Every error says what happened (`message`) and what the person can do next (`hint`). `reason` names
what happened for programs, and `facts` what it happened to: from both, a UI makes a sentence in
another language (`ui/texts_zh_errors.py`).
"""

from collections.abc import Mapping
from typing import ClassVar

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE: a needed part or service is away
EXIT_WEDGED = 70  # EX_SOFTWARE: a worker's engine was stuck, and it ended itself
EXIT_ALREADY_RUNNING = 75  # EX_TEMPFAIL: another appliance holds the data directory
EXIT_CANNOT_BOOT = 78  # EX_CONFIG: wrong configuration; restarting in a loop will not help


class SluiceError(Exception):
    """Base of every error this product raises on purpose."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    exit_status: ClassVar[int] = EXIT_INTERNAL

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        reason: str = "",
        retry_after_s: float | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.facts = {name: str(fact) for name, fact in (facts or {}).items()}
        self.headers: dict[str, str] = {}
        """What an HTTP answer says besides."""


class Invalid(SluiceError):
    code = "invalid"
    http_status = 400
    exit_status = EXIT_USAGE


class TooLarge(Invalid):
    http_status = 413


class UnsupportedMedia(Invalid):
    http_status = 415


class Unauthorized(SluiceError):
    code = "unauthorized"
    http_status = 401
    exit_status = EXIT_USAGE


class Forbidden(Unauthorized):
    http_status = 403


class NotFound(SluiceError):
    code = "not_found"
    http_status = 404
    exit_status = EXIT_USAGE


class Conflict(SluiceError):
    code = "conflict"
    http_status = 409
    exit_status = EXIT_USAGE


class AlreadyRunning(Conflict):
    exit_status = EXIT_ALREADY_RUNNING


class Overloaded(SluiceError):
    code = "overloaded"
    http_status = 429
    exit_status = EXIT_UNAVAILABLE


class WaitedOut(Overloaded):
    http_status = 408


class Unavailable(SluiceError):
    code = "unavailable"
    http_status = 503
    exit_status = EXIT_UNAVAILABLE


class StoreFull(Unavailable):
    http_status = 507


class CannotBoot(SluiceError):
    code = "unavailable"
    http_status = 503
    exit_status = EXIT_CANNOT_BOOT
