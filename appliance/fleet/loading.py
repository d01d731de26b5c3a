"""Which model to load, drain or unload next; pure.

Models beside the chat model are loaded when somebody asks for one, and unloaded when nobody has
for a while or another needs the room. One thing is done at a time: memory that is being taken or
freed cannot be counted on. Room is made by unloading the models that have been idle longest; one
that has work is drained first: it takes nothing new, what it has is answered, and who asks for it
meanwhile waits for its next turn. One that has just been loaded stays until those who waited for
it have come in. So two models that do not fit together serve in turns all the
requests that have gathered, and none starves. What can never fit is refused at once.

The caller tells how things are (`View`, `Room`) and does what comes back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

State = Literal["on_disk", "loading", "loaded", "draining", "unloading", "failed"]

GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class View:
    """One model that is not the chat model.

    `users` are requests that hold it or run on it; `wanted_since_s` is since when the oldest
    request waits for it, None when none does; `used_at_s` is when it last had a user.
    """

    name: str
    state: State
    needed_bytes: int = 0
    users: int = 0
    wanted_since_s: float | None = None
    used_at_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Room:
    """`bound` models may be loaded at once, `ceiling_bytes` in all; `free_bytes` are free now."""

    bound: int
    ceiling_bytes: int
    free_bytes: int
    idle_unload_s: float


@dataclass(frozen=True)
class Load:
    name: str


@dataclass(frozen=True)
class Drain:
    """Let it take nothing new."""

    name: str


@dataclass(frozen=True)
class Unload:
    name: str


@dataclass(frozen=True)
class Refuse:
    """Whoever waits for this model is refused with this reason and message."""

    name: str
    reason: str
    message: str


Action: TypeAlias = Load | Drain | Unload | Refuse


def decide(models: Sequence[View], room: Room, *, now_s: float) -> list[Action]:
    """What to do now. Calling it again after doing it and nothing else changes nothing more."""
    actions: list[Action] = [
        Unload(model.name)
        for model in models
        if (model.state == "draining" and not model.users) or _idle_too_long(model, room, now_s)
    ]
    wanted = []
    for model in sorted(models, key=lambda one: one.wanted_since_s or 0.0):
        if model.state == "on_disk" and model.wanted_since_s is not None:
            refusal = _never(model, room)
            if refusal:
                actions.append(refusal)
            else:
                wanted.append(model)
    moving = any(model.state in ("loading", "draining", "unloading") for model in models)
    if wanted and not moving and not any(isinstance(action, Unload) for action in actions):
        actions += _make_room(wanted[0], models, room)
    return actions


def next_due_s(models: Sequence[View], room: Room) -> float:
    """When `decide` has something to do if nothing else happens; infinity when never."""
    return min(
        (
            model.used_at_s + room.idle_unload_s
            for model in models
            if model.state == "loaded" and not model.users
        ),
        default=float("inf"),
    )


def _idle_too_long(model: View, room: Room, now_s: float) -> bool:
    idle = model.state == "loaded" and not model.users and model.wanted_since_s is None
    return idle and now_s - model.used_at_s >= room.idle_unload_s


def _never(model: View, room: Room) -> Refuse | None:
    if room.bound < 1:
        return Refuse(model.name, "no_room", "no other model than the chat model can be loaded")
    if model.needed_bytes > room.ceiling_bytes:
        return Refuse(
            model.name,
            "no_room",
            f"{model.name} needs about {model.needed_bytes / GIGABYTE:.1f} GB of memory, more than "
            f"the {room.ceiling_bytes / GIGABYTE:.1f} GB for models loaded on demand",
        )
    return None


def _is_entered(model: View) -> bool:
    """Whether requests that waited for a loaded model are about to use it."""
    return model.wanted_since_s is not None


def _make_room(wanted: View, models: Sequence[View], room: Room) -> Iterator[Action]:
    loaded = [model for model in models if model.state == "loaded"]
    # Idle ones first, the longest idle first.
    loaded.sort(key=lambda model: (_is_entered(model), model.users > 0, model.used_at_s))
    held_bytes = sum(model.needed_bytes for model in loaded)
    free_bytes = room.free_bytes
    for position in range(len(loaded) + 1):
        fits = (
            len(loaded) - position < room.bound
            and held_bytes + wanted.needed_bytes <= room.ceiling_bytes
            and wanted.needed_bytes <= free_bytes
        )
        if fits:
            victims = loaded[:position]
            if any(map(_is_entered, victims)):
                return
            yield from (Drain(one.name) if one.users else Unload(one.name) for one in victims)
            if not victims:
                yield Load(wanted.name)
            return
        if position < len(loaded):
            held_bytes -= loaded[position].needed_bytes
            free_bytes += loaded[position].needed_bytes
    yield Refuse(
        wanted.name,
        "no_room",
        f"{wanted.name} needs about {wanted.needed_bytes / GIGABYTE:.1f} GB of memory "
        f"and {free_bytes / GIGABYTE:.1f} GB are free",
    )
