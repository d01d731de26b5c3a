"""What the fake engine pretends to load: several models with sizes, delays and faults.

A fake model is written `NAME#WORD=NUMBER...`, in the manner of the words that steer its answers:
    fake-b               a model called fake-b that is there at once
    fake-b#load=1500     loading takes 1,500 ms and tells how far it is
    fake-b#embed=200     each text that it embeds takes 200 ms
    fake-b#memory=300    it says that it needs 300 MB
    fake-b#broken        it cannot be loaded, and says why
    fake-b#crash         the process dies while it loads
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import CannotBoot, Invalid

DEFAULT_NAME = "fake"
MEGABYTE = 1_000_000
LOAD_STEPS = 10
EXIT_STATUS_CRASH = 9

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_WORD = re.compile(r"(load|embed|memory|broken|crash)(?:=(\d{1,6}))?")


@dataclass(frozen=True, kw_only=True)
class FakeModel:
    name: str = DEFAULT_NAME
    load_ms: int = 0
    embed_ms: int = 0
    memory_bytes: int = 0
    is_broken: bool = False
    crashes: bool = False

    def load(self, on_progress: Callable[[float], None]) -> None:
        """Takes its time, then succeeds or fails as it was told. Raises CannotBoot."""
        for step in range(LOAD_STEPS + 1):
            on_progress(step / LOAD_STEPS)
            if 2 * step >= LOAD_STEPS and self.crashes:
                os._exit(EXIT_STATUS_CRASH)
            if 2 * step >= LOAD_STEPS and self.is_broken:
                raise CannotBoot(f"the model {self.name} is broken", hint="it was asked to be")
            if self.load_ms and step < LOAD_STEPS:
                time.sleep(self.load_ms / 1000 / LOAD_STEPS)


def parse(text: str) -> FakeModel:
    """The model that a text describes, "" the default one. Raises Invalid."""
    name, *words = text.split("#") if text else [DEFAULT_NAME]
    found = [_WORD.fullmatch(word) for word in words]
    if not _NAME.fullmatch(name) or not all(found):
        raise Invalid(
            f"{text[:100]!r} is no model of the fake engine",
            hint="write NAME#load=MILLISECONDS#embed=MILLISECONDS#memory=MEGABYTES, "
            "or #broken or #crash",
        )
    numbers = {match[1]: int(match[2] or 0) for match in found if match}
    return FakeModel(
        name=name,
        load_ms=numbers.get("load", 0),
        embed_ms=numbers.get("embed", 0),
        memory_bytes=numbers.get("memory", 0) * MEGABYTE,
        is_broken="broken" in numbers,
        crashes="crash" in numbers,
    )
