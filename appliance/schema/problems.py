"""The one shape of errors."""

from appliance.schema.faq import LineError
from appliance.schema.fields import Record


class ErrorDetail(Record, frozen=True, kw_only=True):
    """The one shape of every error. `type` repeats `code` for OpenAI clients."""

    code: str
    message: str
    hint: str
    type: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    errors: tuple[LineError, ...] = ()


class ErrorBody(Record, frozen=True, kw_only=True):
    error: ErrorDetail
