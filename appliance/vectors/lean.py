"""Imports pymilvus without pandas.

pymilvus imports pandas for its older interface, which we do not use: a third of a second of CPU and
44 MB, in the appliance and again in the index's process. While pymilvus is imported, placeholders
stand for what it takes from there; a placeholder that is called says so. From then on this process
has no pandas: importing it fails as where it is not installed, which is what pyarrow asks at its
first array.
"""

import importlib.abc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

PACKAGE = "pandas"
TAKEN = (PACKAGE, "pandas.api", "pandas.api.types")
ABSENT = "pandas is left out here: appliance/vectors/lean.py"


class _Placeholder:
    """Nothing is an instance of it, and none can be made."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        raise RuntimeError(ABSENT)


class _Module(ModuleType):
    """Has every public name, and below each the placeholder."""

    def __getattr__(self, name: str) -> type[_Placeholder]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Placeholder


class _Absent(importlib.abc.MetaPathFinder):
    """Finds no pandas, before anybody else could find it."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == PACKAGE:
            raise ModuleNotFoundError(ABSENT, name=PACKAGE)


@contextmanager
def without_pandas() -> Iterator[None]:
    """What is imported within takes placeholders; a pandas that is there already stays."""
    if PACKAGE in sys.modules:
        yield
        return
    for name in TAKEN:
        sys.modules[name] = _Module(name)
    try:
        yield
    finally:
        for name in TAKEN:
            del sys.modules[name]
        if not any(isinstance(finder, _Absent) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Absent())
