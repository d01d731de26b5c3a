"""Kinds of values that several sections have."""

from typing import Annotated, Final

from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
SECRET: Final = {"secret": True}  # a value that nobody is told
