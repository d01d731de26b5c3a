"""What a life of the appliance begins with, known before anything else is imported."""

from dataclasses import dataclass
from pathlib import Path

from appliance.fleet.downloads import Downloads


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What this life of the appliance began with.

    `fixed` says why the chat model cannot be chosen, `trouble` why the last one chosen did not
    start; both mostly "". `key_file` is for people to read.
    """

    data: Path
    key_file: Path
    downloads: Downloads
    fixed: str = ""
    trouble: str = ""
