"""Whether Sluice runs from its one executable file, and where that file is.

The launcher (see packaging/) unpacks the program once per version and becomes it; children are
started from the unpacked program. Whatever outlives this run, such as a desktop entry or a
service, must name the file a person has instead: the unpacked version is removed one day.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

FILE_VARIABLE = "SLUICE_FILE"  # set by the launcher


def is_frozen() -> bool:
    """True in the unpacked program, false in a checkout."""
    return bool(getattr(sys, "frozen", False))


def executable_file(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The one file this program was unpacked from, if it is still there; None in a checkout."""
    named = environment.get(FILE_VARIABLE, "") if is_frozen() else ""
    path = Path(named)
    return path if named and path.is_absolute() and path.is_file() else None


def lasting_command(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The command that starts Sluice on another day: the file itself, else this checkout."""
    path = executable_file(environment)
    if path is not None:
        return (str(path),)
    script = Path(sys.executable).with_name("sluice")
    if is_frozen() or script.is_file():
        return (str(script),)
    return (sys.executable, "-m", "appliance")
