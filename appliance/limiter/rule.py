"""An operator's own rule of admission: what it is asked and what it may answer.

The rule is a Python file, named in `limiter.rule_file`, with one function:

    from appliance.limiter.rule import Refuse, Request, Run, Verdict, View, Wait

    def decide(request: Request, view: View) -> Verdict | None:
        if request.tier == "guest" and view.waiting >= 5:
            return Refuse("guests are asked to come back when it is quiet", retry_after_s=120)
        if request.uid == "reception":
            return Run()
        return None

It is asked once per request, on its arrival. Whatever it says, no slot, budget or bound of the
settings is exceeded; None leaves the request to the built-in rule. It sees numbers and names, never
what a person wrote.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from appliance.schema.requests import Priority

MESSAGE_CHARS = 300
RETRY_MOST_S = 604_800.0


class Request(msgspec.Struct, frozen=True):
    """A request at the door, in tokens as predicted: half of such answers stay below
    `output_p50`, 80 % below `output_p80`, all below `output_most`."""

    uid: str
    tier: str
    priority: Priority
    pool: str
    input_tokens: int
    cached_tokens: int
    output_p50: float
    output_p80: float
    output_most: int
    seconds_left: float


class View(msgspec.Struct, frozen=True):
    """The queue of the request's pool of workers; `own_` counts the same user's requests."""

    waiting: int
    running: int
    capacity: int
    own_waiting: int
    own_running: int


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Gets the next free slot, before everybody who waits in line."""


class Wait(msgspec.Struct, frozen=True, tag="wait"):
    """Stands in line as the built-in rule has it, in a lower class if one is named."""

    priority: Priority | None = None


class Refuse(msgspec.Struct, frozen=True, tag="refuse"):
    """Is turned away. The person reads `message`, a program `Retry-After`."""

    message: Annotated[str, Meta(min_length=1, max_length=MESSAGE_CHARS)]
    retry_after_s: Annotated[float, Meta(ge=1, le=RETRY_MOST_S)] = 60.0


Verdict: TypeAlias = Run | Wait | Refuse


class Question(msgspec.Struct, frozen=True):
    """A line to the process of the rule."""

    request: Request
    view: View


class Reply(msgspec.Struct, frozen=True):
    """A line from it: a verdict, or why there is none. The first one says that it is ready."""

    verdict: Verdict | None = None
    error: str = ""


SAMPLE = Question(
    Request("sample", "standard", "person", "main", 200, 0, 120.0, 250.0, 512, 900.0),
    View(waiting=1, running=1, capacity=1, own_waiting=0, own_running=0),
)
"""What a rule is tried on before it is taken into use."""
