"""The constants of the worker model from a few measured times."""

from dataclasses import dataclass
from statistics import median

from appliance.simulator.constants import Constants


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt computed on an idle worker: its tokens, and seconds to the first word."""

    tokens: int
    first_s: float


@dataclass(frozen=True, slots=True)
class Probes:
    """What was measured. `alone_s` and `together_s` are seconds per token of one answer by
    itself, and of each of `beside` answers at once."""

    alone_s: float
    together_s: float
    beside: int
    short: tuple[Prompt, ...]
    long: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the worker was started with."""

    slots: int
    step_tokens: int
    gap_s: float
    kv_tokens: int


@dataclass(frozen=True, slots=True)
class Fit:
    """`around_s`: seconds of a first word that are no work of the worker."""

    constants: Constants
    around_s: float


def fit(probes: Probes, shape: Shape) -> Fit:
    """A step takes `step_s`, and `output_s` more for each answer in it: two sizes tell both.

    Two lengths of prompt tell `input_s`. A prompt is computed in chunks of what fits between two
    tokens of running answers (`worker.gap_ms`).
    """
    output_s = max(0.0, (probes.together_s - probes.alone_s) / (probes.beside - 1))
    step_s = max(1e-4, probes.alone_s - output_s)
    tokens = median(one.tokens for one in probes.long) - median(one.tokens for one in probes.short)
    short_s = median(one.first_s for one in probes.short)
    per_token_s = (median(one.first_s for one in probes.long) - short_s) / tokens
    input_s = max(1e-6, per_token_s - step_s / shape.step_tokens)
    room_s = shape.gap_s - step_s - output_s * shape.slots
    chunk = min(shape.step_tokens, max(16, int(room_s / input_s)))
    around_s = short_s - step_s - input_s * median(one.tokens for one in probes.short)
    return Fit(
        Constants(step_s, input_s, output_s, chunk, shape.slots, shape.kv_tokens),
        max(0.0, around_s),
    )
