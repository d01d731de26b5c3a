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
    near_score: Annotated[
        float,
        Meta(
            ge=-1,
            le=1,
            description="Entries at least so near to a new one are named in the answer, as they "
            "may say the same.",
        ),
    ] = 0.75
    near_lines: Annotated[
        int,
        Meta(ge=0, le=10_000, description="Lines of a file compared so in a dry run."),
    ] = 200
    misses_kept: Annotated[
        int, Meta(ge=1, le=10_000, description="Groups of questions without a good answer kept.")
    ] = 1000
    miss_score: Annotated[
        float,
        Meta(ge=-1, le=1, description="Missed questions at least so near are one group."),
    ] = 0.7
    askers_kept: Annotated[
        int,
        Meta(ge=0, le=10_000, description="People of each group who hear when there is an answer."),
    ] = 200
    regressions_bound: Annotated[
        int, Meta(ge=0, le=10_000, description="Saved questions asked again after every change.")
    ] = 1000
