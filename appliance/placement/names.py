"""The names of the policies, apart from the policies so that they can be named cheaply."""

from typing import Literal, TypeAlias

PolicyName: TypeAlias = Literal[
    "hybrid",
    "pull",
    "cost",
    "round_robin",
    "weighted_round_robin",
    "least_connections",
    "sglang",
]
