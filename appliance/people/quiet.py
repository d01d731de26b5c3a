"""Quiet hours, and when a message to a person may be delivered: pure rules over the wall clock.

Quiet hours are two times of a day in the person's zone, which may lie around midnight. A message
that falls into them waits for their end. Where the clocks change, the end is what the clocks show
then. A zone or hours that cannot be read are refused where they are set (`check_quiet`, and the
settings); if stored all the same they count as none.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from appliance.errors import Invalid
from appliance.schema.quiet import are_hours, hours_in, zone_of


@dataclass(frozen=True)
class QuietHours:
    """From `start` to `end` in `zone`, None being the machine's."""

    start: datetime.time
    end: datetime.time
    zone: datetime.tzinfo | None


@dataclass(frozen=True)
class Wanted:
    """When a message is to be delivered, as its sender says; None is now, and as long as kept."""

    deliver_at_ms: int | None = None
    expires_at_ms: int | None = None
    urgent: bool = False


@dataclass(frozen=True)
class Plan:
    """What becomes of it; `reason` is empty when it is delivered now."""

    deliver_at_ms: int
    expires_at_ms: int
    reason: Literal["", "asked", "quiet_hours"] = ""


def quiet_hours(text: str, zone: str) -> QuietHours | None:
    """ "22:00-07:00" in the named zone; None for no hours, or for what is neither."""
    found = hours_in(text)
    if found is None:
        return None
    start = datetime.time(int(found[1]), int(found[2]))
    end = datetime.time(int(found[3]), int(found[4]))
    return None if start == end else QuietHours(start, end, zone_of(zone))


def check_quiet(attributes: Mapping[str, str | None]) -> None:
    """Raises Invalid for hours or a zone of a person that cannot be read; "" is neither."""
    hours, zone = attributes.get("quiet_hours"), attributes.get("timezone")
    if hours and not are_hours(hours):
        raise Invalid(
            f"quiet_hours: {hours!r} is not from one time to another",
            hint='write them as "22:00-07:00", or "" for none',
            reason="bad_quiet_hours",
            facts={"hours": hours},
        )
    if zone and zone_of(zone) is None:
        raise Invalid(
            f"timezone: no zone is called {zone!r}",
            hint='write it as "Asia/Shanghai", or "" for that of the appliance',
            reason="bad_timezone",
            facts={"zone": zone},
        )


def after_quiet_hours(at_ms: int, quiet: QuietHours | None) -> int:
    """The earliest moment from `at_ms` on that is not quiet."""
    if quiet is None:
        return at_ms
    at = datetime.datetime.fromtimestamp(at_ms / 1000, tz=datetime.UTC).astimezone(quiet.zone)
    now = at.time()
    around_midnight = quiet.start > quiet.end
    if around_midnight:
        is_quiet = now >= quiet.start or now < quiet.end
    else:
        is_quiet = quiet.start <= now < quiet.end
    if not is_quiet:
        return at_ms
    day = at.date() + datetime.timedelta(days=int(around_midnight and now >= quiet.start))
    end = datetime.datetime.combine(day, quiet.end)
    end = end.astimezone() if quiet.zone is None else end.replace(tzinfo=quiet.zone)
    return max(at_ms, int(1000 * end.timestamp()))


def plan(wanted: Wanted, quiet: QuietHours | None, *, now_ms: int, kept_ms: int) -> Plan:
    """When the message is delivered and when it leaves.

    Raises Invalid for one that would have expired by then, or that is for too far away.
    """
    asked = max(now_ms, wanted.deliver_at_ms or 0)
    if asked - now_ms > kept_ms:
        raise Invalid(
            "deliver_at_ms is too far away",
            hint="the bound is inbox.kept_days in the settings",
            reason="deliver_too_late",
        )
    due = asked if wanted.urgent else after_quiet_hours(asked, quiet)
    expires = min(wanted.expires_at_ms or due + kept_ms, due + kept_ms)
    if expires <= due:
        why = "in the person's quiet hours" if due > asked else "before it is delivered"
        raise Invalid(
            f"the message would expire {why}",
            hint="let it expire later, or send it as urgent" if due > asked else "expire it later",
            reason="would_expire",
        )
    reason: Literal["", "asked", "quiet_hours"] = ""
    if due > now_ms:
        reason = "quiet_hours" if due > asked else "asked"
    return Plan(due, expires, reason)
