"""The settings of curation: what is kept beside the FAQ's entries, and how much of it."""

from typing import Annotated

import msgspec
from msgspec import Meta


class Curation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keeping the FAQ right."""

    history_kept: Annotated[
        int, Meta(ge=1, le=1000, description="Older versions kept of each entry.")
    ] = 20
    deleted_kept: Annotated[
        int, Meta(ge=1, le=100_000, description="Deleted entries that can still be brought back.")
    ] = 1000
    imports_kept: Annotated[
        int, Meta(ge=1, le=1000, description="Past imports of files that can still be looked up.")
    ] = 20
