"""Settings of admission."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.schema.fields import ID_PATTERN
from appliance.settings.fields import Positive

Generation = Literal["service", "window", "bucket"]


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each user of this tier may use; 0 means without limit.

    `weight` is the share of service among those who wait. `waiting` 0 is `queue_bound_per_user`.
    `priority` is the highest class its requests may have: person, service or background.
    """

    name: Annotated[str, Meta(pattern=ID_PATTERN)]
    weight: Positive = 1.0
    requests_per_minute: Annotated[int, Meta(ge=0)] = 0
    tokens_per_minute: Annotated[int, Meta(ge=0)] = 0
    tokens_per_day: Annotated[int, Meta(ge=0)] = 0
    concurrency: Annotated[int, Meta(ge=0)] = 0
    waiting: Annotated[int, Meta(ge=0)] = 0
    priority: Literal["person", "service", "background"] = "person"
    generation: Generation = "service"


class Limiter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Admission: who runs now, who waits, who is refused."""

    tiers: Annotated[
        tuple[Tier, ...],
        Meta(
            max_length=64,
            description="Limits by kind of user, each a table [[limiter.tiers]] with `name` and "
            "any of weight, requests_per_minute, tokens_per_minute, tokens_per_day, concurrency, "
            "waiting (0: queue_bound_per_user), priority (person, service, background), "
            'generation. A user with the tag "tier:gold" has the tier gold, all others have '
            '"standard", without limits unless it stands here.',
        ),
    ] = ()
    generation_sessions: Annotated[
        Literal["tier", "service", "window", "bucket"],
        Meta(
            description="How messages in sessions are let in. service: the queue with fair shares. "
            "window: a user's requests_per_minute at once, then none until the minute is over. "
            "bucket: all users of a tier wait for requests_per_minute grants. tier: as it says."
        ),
    ] = "tier"
    generation_v1: Annotated[
        Literal["tier", "service", "window", "bucket"],
        Meta(description="How calls to /v1 are let in, likewise."),
    ] = "tier"
    half_life_s: Annotated[
        Positive, Meta(description="What a user was served counts half against him after this.")
    ] = 60.0
    age_s: Annotated[
        Positive, Meta(description="A waiting request rises by one class each time this passes.")
    ] = 120.0
    shortest_first: Annotated[
        bool, Meta(description="Of one user's own requests the shortest predicted one goes first.")
    ] = False
    kept_share: Annotated[
        float,
        Meta(
            ge=0,
            le=0.5,
            description="This share of all slots, at least one of two, is kept from whoever holds "
            "many of them while others are about, so that a newcomer begins at once. More of it "
            "also leaves people fewer neighbours in a step, which makes their answers faster and "
            "a crowd's slower; 0 keeps none.",
        ),
    ] = 0.03
    embed_timeout_s: Annotated[
        Positive,
        Meta(description="Admission waits this long for the embedding that tells lengths apart."),
    ] = 0.25
    lease_s: Annotated[
        Positive,
        Meta(
            description="Of several limiters on one store one decides; after a crash the next "
            "takes over when this has passed."
        ),
    ] = 5.0
    queue_bound: Annotated[int, Meta(ge=1, description="Most requests waiting in all.")] = 512
    queue_bound_per_user: Annotated[
        int, Meta(ge=1, description="Most requests one user may have waiting.")
    ] = 64
    news_interval_s: Annotated[
        Positive, Meta(description="A waiting person hears of a new place at most this often.")
    ] = 1.0
    reconcile_interval_s: Annotated[
        Positive, Meta(description="How often the limiter checks its view against the store.")
    ] = 5.0
    no_worker_after_s: Annotated[
        Positive, Meta(description="Refuse with 503 when no worker has been alive for this long.")
    ] = 60.0
    rule_file: Annotated[
        str,
        Meta(
            description="A rule of your own: the path of a Python file with decide(request, view), "
            "asked before the built-in rule; see appliance/limiter/rule.py for what it is told and "
            'may answer. It runs in a process of its own. "" is the built-in rule alone.'
        ),
    ] = ""
    rule_timeout_s: Annotated[
        Positive,
        Meta(description="A rule that takes longer is killed; the built-in rule decides instead."),
    ] = 0.05
    rule_pause_s: Annotated[
        Positive, Meta(description="A rule that failed three times in a row rests for this long.")
    ] = 60.0

    def __post_init__(self) -> None:
        names = [tier.name for tier in self.tiers]
        if len(set(names)) < len(names):
            raise ValueError("two tiers have the same name")
