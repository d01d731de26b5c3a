"""Settings of the FAQ: retrieval, decisions, curation."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.schema.fields import Uid
from appliance.settings.fields import Positive


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


class Faq(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Knowledge."""

    matches: Annotated[
        int, Meta(ge=1, le=20, description="Most entries put before a question.")
    ] = 2
    floor: Annotated[
        float,
        Meta(
            ge=-1,
            le=1,
            description="Similarity below which an entry does not count, while too few phrasings "
            "are there to learn it from. Unrelated texts stay below 0.35. Between two languages "
            "0.6 of it is enough.",
        ),
    ] = 0.38
    direct: Annotated[
        Literal["calibrated", "exact", "off"],
        Meta(
            description="When an entry's answer is given without a model. exact: to a question "
            "that is one of its phrasings. calibrated: also where the FAQ's own phrasings, asked "
            "one by one, say that at most one such answer in a hundred is wrong. off: never."
        ),
    ] = "calibrated"
    did_you_mean: Annotated[
        bool,
        Meta(description="Offer up to three entries to pick from where the first is a guess."),
    ] = True
    no_answer: Annotated[
        Literal["model", "say_so", "person"],
        Meta(
            description="When no entry counts. model: it answers, marked as not covered by the "
            "FAQ. say_so: the person is told that there is no answer. person: the question goes "
            "to the misses, where whoever keeps the FAQ answers it, and the answer goes to the "
            "asker's inbox and session."
        ),
    ] = "model"
    persons: Annotated[
        tuple[Uid, ...],
        Meta(
            max_length=64,
            description="Users who hear in their inbox when a question begins to wait for a "
            'person, with no_answer = "person".',
        ),
    ] = ()
    entries_bound: Annotated[int, Meta(ge=1, description="Most entries.")] = 100_000
    retrieval_timeout_s: Annotated[
        Positive, Meta(description="An answer does not wait longer than this for retrieval.")
    ] = 10.0
