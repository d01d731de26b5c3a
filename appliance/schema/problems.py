"""The one shape of errors."""

from appliance.schema.faq import LineError
from appliance.schema.fields import Record


class ErrorDetail(Record, frozen=True, kw_only=True):
    """The one shape of every error. `type` repeats `code` for OpenAI clients.

    `reason` is what happened more exactly than `code` says it, and `facts` what `message` names.
    """

    code: str
    message: str
    hint: str
    type: str = ""
    reason: str = ""
    facts: dict[str, str] = {}
    retry_after_s: float | None = None
    errors: tuple[LineError, ...] = ()


class ErrorBody(Record, frozen=True, kw_only=True):
    error: ErrorDetail
