"""Settings of sessions and of what the model is told in each."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Sessions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conversations."""

    turns_kept: Annotated[int, Meta(ge=1, description="Turns kept per session.")] = 500
    sessions_kept: Annotated[
        int, Meta(ge=1, description="Most sessions of a user; no more can be begun.")
    ] = 1000
    history_chars: Annotated[
        int,
        Meta(
            ge=0,
            description="Characters of earlier turns put before a question. When they do not "
            "fit, the older half is cut in one step.",
        ),
    ] = 8000
    kept_days: Annotated[
        float,
        Meta(ge=0, description="Turns, and sessions idle for this long, are removed; 0 keeps all."),
    ] = 0.0
    titles: Annotated[
        Literal["words", "model", "none"],
        Meta(
            description="What a session without a title is called after its first answer: the "
            'first words of the question, or what the model makes of it when it has time ("model").'
        ),
    ] = "words"
    search_turns: Annotated[
        int, Meta(ge=1, description="Most turns of a person that one search looks through.")
    ] = 20_000


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model is told besides the question."""

    system: Annotated[str, Meta(description="System prompt, the same for everybody.")] = (
        "You are the organisation's assistant. Answer in the language of the question. "
        "When FAQ entries are given, answer from them and keep their names, numbers and times "
        "exactly. If they do not contain the answer, say that you do not know."
    )
