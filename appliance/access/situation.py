"""What a life of the appliance begins with, known before anything else is imported."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.fleet.downloads import Downloads


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What this life of the appliance began with.

    `lacking` names the weights that its settings mean and that are not here, as it is by then;
    `fetches` says that they are to be fetched though nobody has been asked, and `unattended` that
    nobody will be. `fixed` says why the chat model cannot be chosen, `trouble` why the last one
    chosen did not start, in words and for programs; mostly "". `key_file` is for people to read.
    """

    data: Path
    key_file: Path
    downloads: Downloads
    lacking: Callable[[], Sequence[str]]
    fetches: bool = False
    unattended: bool = False
    fixed: str = ""
    trouble: str = ""
    trouble_reason: str = ""
    trouble_facts: Mapping[str, str] = field(default_factory=dict)
