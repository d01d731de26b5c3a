"""Kinds of values that several sections have."""

from typing import Annotated

from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
