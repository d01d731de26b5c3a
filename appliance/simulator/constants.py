"""The worker model's constants, read from a small JSON file or taken from the built-in ones.

A step that prefills p prompt tokens beside d running sequences takes
`step_s + input_s * p + output_s * d` seconds. Calibrate by measuring a real engine: `step_s` and
`output_s` from decode-only steps at two batch sizes, `input_s` from one long prompt.
"""

from pathlib import Path

import msgspec

from appliance.errors import Invalid


class Constants(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, tokens and slots of one worker."""

    step_s: float
    input_s: float
    output_s: float
    chunk_tokens: int
    slots: int
    kv_tokens: int


BUILT_IN = {
    # An 8B model on one data-centre GPU: 10,000 prompt tokens/s, 64 sequences at 35 ms a step.
    "gpu": Constants(
        step_s=0.012,
        input_s=0.0001,
        output_s=0.00035,
        chunk_tokens=2048,
        slots=64,
        kv_tokens=1_000_000,
    ),
    # The starter model on two CPU cores: 190 prompt tokens/s, 43 to 102 output tokens/s.
    "cpu": Constants(
        step_s=0.0145,
        input_s=0.00526,
        output_s=0.00885,
        chunk_tokens=128,
        slots=16,
        kv_tokens=32_768,
    ),
    # A 7B model on a 24 GB GPU, as in the VTC paper: 24 requests of that trace's mean size fill
    # its 10,000 tokens of KV cache, and first come first served reaches its 777 tokens/s.
    "vtc": Constants(
        step_s=0.0224,
        input_s=0.0002,
        output_s=0.0009,
        chunk_tokens=2048,
        slots=24,
        kv_tokens=65_536,
    ),
}


def read_constants(name: str) -> Constants:
    """Built-in ones by name, else from a file. Raises Invalid when there is neither."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    try:
        found = msgspec.json.decode(Path(name).read_bytes(), type=Constants)
    except (OSError, msgspec.MsgspecError) as error:
        raise Invalid(
            f"the worker's constants {name!r} cannot be read: {error}",
            hint=f"use {', '.join(BUILT_IN)} or a JSON file with "
            f"{', '.join(Constants.__struct_fields__)}",
        ) from None
    small = min(found.step_s, found.input_s, found.output_s) < 0 or found.step_s == 0
    if small or min(found.chunk_tokens, found.slots, found.kv_tokens) < 1:
        raise Invalid(f"a constant in {name!r} is too small", hint="all must be positive")
    return found
