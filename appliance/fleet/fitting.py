"""Which models fit a machine, how fast they will be there, and which one to propose; pure.

A token is made by reading every weight that takes part in it once, so a CPU makes at most as many
tokens a second as it can read those weights in a second. llama.cpp reaches about `READ_SHARE` of
the rate at which plain loops read memory on the same cores. With several people at once a step
serves all of them, so together they get more than this figure and each somewhat less.

Prompts are computed and not read: two AVX2 cores computed 190 tokens a second of a model of 0.49
GB, and cores and weights change that in proportion.

Proposed is the largest model that leaves room for other programs, writes above reading speed, and
does not let people wait long for the first word of an answer from the FAQ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.schema.setup import Obstacle
from appliance.worker.memory import WORKING_BYTES
from models.catalogue import Entry

READ_SHARE = 0.7
CORE_PROMPT_RATE = 190 * 0.49e9 / 2  # prompt tokens per second times bytes of weights, per core
PROMPT_TOKENS = 400  # of a question with its entries
COMFORTABLE_TOKENS_PER_S = 8.0
COMFORTABLE_FIRST_WORD_S = 10.0
MEMORY_SHARE = 0.6
DISK_RESERVE_BYTES = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """`free_bytes` of memory for a chat model; `read_rate` of memory in bytes per second, 0 when
    it is not known; `cores` compute; `gpu_bytes` is the memory of the largest GPU, 0 without one.
    """

    free_bytes: int
    disk_free_bytes: int
    read_rate: float
    cores: int
    gpu_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A model to judge. `missing_bytes` are still to be fetched."""

    name: str
    size_bytes: int
    missing_bytes: int
    memory_bytes: int
    read_share: float = 1.0
    proposable: bool = True


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The speeds are None where they cannot be told: on a GPU, or with memory not measured."""

    obstacle: Obstacle
    tokens_per_s: float | None
    first_word_s: float | None
    on_gpu: bool


def memory_of(entry: Entry, *, cache_tokens: int) -> int:
    """What one worker with these weights will need, before they are here."""
    return entry.size_bytes + cache_tokens * entry.cache_token_bytes + WORKING_BYTES


def fit(offer: Offer, capacity: Capacity) -> Fit:
    """What stands in the way of a model, and its expected speed."""
    on_gpu = offer.memory_bytes <= capacity.gpu_bytes
    read_bytes = offer.size_bytes * offer.read_share
    rate = first_word_s = None
    if not on_gpu and capacity.read_rate and read_bytes:
        rate = READ_SHARE * capacity.read_rate / read_bytes
        first_word_s = PROMPT_TOKENS * read_bytes / (capacity.cores * CORE_PROMPT_RATE)
    obstacle: Obstacle = ""
    if not on_gpu and offer.memory_bytes > capacity.free_bytes:
        obstacle = "memory"
    elif offer.missing_bytes and (
        offer.missing_bytes + DISK_RESERVE_BYTES > capacity.disk_free_bytes
    ):
        obstacle = "disk"
    return Fit(
        obstacle=obstacle,
        tokens_per_s=_rounded(rate),
        first_word_s=_rounded(first_word_s),
        on_gpu=on_gpu,
    )


def proposed(offers: Sequence[Offer], capacity: Capacity) -> str:
    """The name of the model to propose, "" when none fits."""
    judged = [(one, fit(one, capacity)) for one in offers if one.proposable]
    fitting = [(one, its) for one, its in judged if not its.obstacle]
    good = [one for one, its in fitting if its.on_gpu or _is_comfortable(one, its, capacity)]
    if good:
        return max(good, key=lambda one: one.size_bytes).name
    return min((one for one, _ in fitting), key=lambda one: one.size_bytes).name if fitting else ""


def _is_comfortable(offer: Offer, its: Fit, capacity: Capacity) -> bool:
    if its.tokens_per_s is None or its.first_word_s is None:
        return False
    return (
        its.tokens_per_s >= COMFORTABLE_TOKENS_PER_S
        and its.first_word_s <= COMFORTABLE_FIRST_WORD_S
        and offer.memory_bytes <= MEMORY_SHARE * capacity.free_bytes
    )


def _rounded(rate: float | None) -> float | None:
    """Two figures: more would pretend to know."""
    return None if rate is None else float(f"{rate:.2g}")
