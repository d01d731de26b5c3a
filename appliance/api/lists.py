"""Query parameters that every list shares."""

from typing import Annotated

from litestar.params import Parameter

Cursor = Annotated[
    str | None, Parameter(max_length=64, description="`cursor` of the page before; none at first.")
]
Limit = Annotated[int, Parameter(ge=1, le=500, description="Most items in one page.")]
UidPath = Annotated[str, Parameter(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
IdPath = Annotated[str, Parameter(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
