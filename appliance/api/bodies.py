"""JSON bodies are taken as what they are: a number is no boolean, and a text is no number.

Litestar converts bodies with the latitude that a query needs, where everything is text.
"""

import re
from typing import Any

import msgspec
from litestar import Request

from appliance.api.problems import HINTS
from appliance.errors import Invalid

_PLACED = re.compile(r"(?P<what>.*) - at `\$\.?(?P<where>.*)`", re.DOTALL)


class StrictRequest(Request[Any, Any, Any]):
    """Refuses a JSON body whose values do not have the declared types."""

    async def json(self) -> Any:
        """The decoded body. Raises Invalid when it is not what the route declares."""
        body = await super().json()
        declared = self.route_handler.parsed_data_field
        if declared is not None:
            try:
                msgspec.convert(body, declared.annotation, str_keys=True)
            except msgspec.ValidationError as error:
                said = _worded(error)
                raise Invalid(
                    said, hint=HINTS[400], reason="malformed", facts={"detail": said}
                ) from None
        return body


def _worded(error: msgspec.ValidationError) -> str:
    placed = _PLACED.fullmatch(str(error))
    said = ": ".join(filter(None, (placed["where"], placed["what"]))) if placed else str(error)
    return f"the request does not fit; {said}"[:1000]
