"""How far the tests of chance go: `make test` does a few of every kind, `make soak` does them all.

Those that differ carry the mark `soak`, by which `make soak` finds them.
"""

import os
from typing import TypeVar

T = TypeVar("T")
IS_SOAK = "SLUICE_SOAK" in os.environ


def much(few: T, many: T) -> T:
    """`many` where there is time for it, `few` otherwise."""
    return many if IS_SOAK else few
