"""Settings of what is known of people and of what is told to them unasked; part of `settings`."""

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]


class Inbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages to people who did not ask."""

    bound: Annotated[
        int,
        Meta(
            ge=10,
            le=5_000,
            description="Most messages kept for one person. Past it the oldest one that was read "
            "or has expired leaves; when all are unread, new ones are refused.",
        ),
    ] = 200
    scheduled_bound: Annotated[
        int, Meta(ge=1, le=5_000, description="Most messages that wait for their time, per person.")
    ] = 100
    kept_days: Annotated[
        Positive, Meta(le=3_650, description="A message expires after this, if not before.")
    ] = 30.0
    per_minute: Annotated[
        int, Meta(ge=0, description="Most messages one sender writes in a minute; 0: no limit.")
    ] = 60
    quiet_hours: Annotated[
        str,
        Meta(
            description='Hours in which messages wait, as "22:00-07:00"; "" is never. A person\'s '
            "attribute quiet_hours says otherwise for that person. Urgent ones do not wait."
        ),
    ] = ""
    timezone: Annotated[
        str,
        Meta(
            description='Time zone of the quiet hours, as "Asia/Shanghai"; "" is the machine\'s. '
            "A person's attribute timezone says otherwise."
        ),
    ] = ""
    left_after_s: Annotated[
        Positive,
        Meta(description="Nobody read an answer this long after its end: the person is told."),
    ] = 10.0
    related: Annotated[
        int, Meta(ge=0, le=10, description="Most related questions offered after an answer.")
    ] = 3
