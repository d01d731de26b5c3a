"""Where the holder of a key may go: the places whose calls the role of the key may make."""

from collections.abc import Mapping
from typing import Final

from appliance.schema.people import Me, Role
from ui.widgets.top_bar import PLACES, Place

_PLACES: Final[Mapping[Role, tuple[Place, ...]]] = {
    "admin": tuple(place for place, _ in PLACES),
    "service": ("chat", "faq", "status", "models", "people"),
    "person": ("chat", "models", "inbox"),
}


def places_of(me: Me | None) -> tuple[Place, ...]:
    """All of them until the server has told whose key ours is."""
    return _PLACES[me.role if me is not None else "admin"]
