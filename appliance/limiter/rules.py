"""The settings of admission as the rules of the limiter, and what a request is to them."""

from appliance.bus.notices import Notice
from appliance.limiter.core import Rules
from appliance.limiter.tiers import Tier
from appliance.limiter.verdict import RANKS, Ask, Forecast
from appliance.schema.requests import Priority
from appliance.settings import Settings

STANDARD = "standard"
TIER_TAG = "tier:"


def rules_of(settings: Settings) -> Rules:
    limits = settings.limiter
    return Rules(
        tiers=tiers_of(settings),
        waiting=limits.queue_bound,
        half_life_s=limits.half_life_s,
        age_s=limits.age_s,
        shortest_first=limits.shortest_first,
        kept_share=limits.kept_share,
        news_interval_s=limits.news_interval_s,
        no_worker_after_s=limits.no_worker_after_s,
    )


def tiers_of(settings: Settings) -> dict[str, Tier]:
    """Every tier by name, "standard" among them."""
    limits = settings.limiter
    tiers = {STANDARD: Tier(waiting=limits.queue_bound_per_user)}
    for tier in limits.tiers:
        tiers[tier.name] = Tier(
            weight=tier.weight,
            requests_per_minute=tier.requests_per_minute,
            tokens_per_minute=tier.tokens_per_minute,
            tokens_per_day=tier.tokens_per_day,
            concurrency=tier.concurrency,
            waiting=tier.waiting or limits.queue_bound_per_user,
        )
    return tiers


def tier_name(settings: Settings, tags: tuple[str, ...]) -> str:
    """The tier that a user's tags name, "standard" when they name none that there is."""
    named = [tag.removeprefix(TIER_TAG) for tag in tags if tag.startswith(TIER_TAG)]
    known = {tier.name for tier in settings.limiter.tiers}
    return next((name for name in named if name in known), STANDARD)


def priority_of(settings: Settings, tier: str, wanted: Priority) -> Priority:
    """The class a request gets: what it asks for, but none above its tier's."""
    highest: list[Priority] = [one.priority for one in settings.limiter.tiers if one.name == tier]
    return max([wanted, *highest], key=RANKS.__getitem__)


def ask_of(notice: Notice, deadline_s: float) -> Ask:
    asked = notice.asked
    return Ask(
        request_id=notice.request_id,
        uid=notice.uid,
        tier=asked.tier,
        priority=asked.priority,
        input_tokens=asked.input_tokens,
        cached_tokens=asked.cached_tokens,
        output=Forecast(asked.p50, asked.p80, asked.most),
        deadline_s=deadline_s,
        is_ahead=asked.is_ahead,
    )
