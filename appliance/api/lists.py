"""Parameters that several routes share."""

from typing import Annotated

from litestar.params import Parameter

from appliance.schema.fields import ID_PATTERN, UID_PATTERN

Cursor = Annotated[
    str | None, Parameter(max_length=80, description="`cursor` of the page before; none at first.")
]
Limit = Annotated[int, Parameter(ge=1, le=500, description="Most items in one page.")]
IfMatch = Annotated[
    str | None,
    Parameter(
        header="If-Match",
        required=False,
        max_length=32,
        description="The ETag of what you change as you read it; when it was changed since, the "
        "answer is 409, for a FAQ entry with both texts.",
    ),
]
UidPath = Annotated[str, Parameter(pattern=UID_PATTERN)]
IdPath = Annotated[str, Parameter(pattern=ID_PATTERN)]
