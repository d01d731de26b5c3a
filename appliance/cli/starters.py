"""Gets the starter models before a start, from inside the executable or from outside.

A start takes only what the executable carries: what else is missing is asked for in the UI, or
fetched while it serves. A service's models are fetched when it is installed. What fetches is
imported when something is missing: every start comes through here.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import Conflict
from appliance.frozen import executable_file
from appliance.settings import Settings, models_directory
from models.store import Store

OTHER_FETCHES_S = 1_800.0  # another window that was opened a moment before
LOOK_EVERY_S = 0.5


def fetch_starters(settings: Settings) -> None:
    """The starter models this run needs, wherever they come from. Raises Unavailable, Conflict."""
    store = Store(models_directory(settings))
    entries = {role: store.catalogue.require(role) for role in _needed(settings)}
    missing = [role for role, entry in entries.items() if not store.has(entry.name)]
    if missing:
        _pull(store, missing, executable_file(), settings.models.mirror)


def take_carried(settings: Settings) -> None:
    """Those that travel in the executable and are not in the store. Raises Unavailable."""
    carrier = executable_file()
    if carrier is not None:
        take_carried_in(settings, carrier)


def take_carried_in(
    settings: Settings, carrier: Path, *, patience_s: float = OTHER_FETCHES_S
) -> bool:
    """Those that travel in this executable; False when it has none that are missing.

    Raises Conflict when others still fetch one of them after `patience_s`.
    """
    store = Store(models_directory(settings))
    entries = {role: store.catalogue.require(role) for role in _needed(settings)}
    missing = [role for role, entry in entries.items() if not store.path(entry.name).exists()]
    if not missing:
        return False
    from models.carried import carries

    found = [role for role in missing if carries(carrier, entries[role])]
    _pull(store, found, carrier, "", patience_s=patience_s)
    return bool(found)


def _pull(
    store: Store,
    roles: Sequence[str],
    carrier: Path | None,
    mirror: str,
    *,
    patience_s: float = OTHER_FETCHES_S,
) -> None:
    from rich.console import Console

    from models.cli import progress_on
    from models.pull import Ways, pull

    deadline_s, left = time.monotonic() + patience_s, list(roles)
    console = Console(stderr=True)
    if left:
        console.print("fetching the models… 正在获取模型…")
    with progress_on(console) as report:
        while left:
            try:
                pull(store, left[0], report=report, ways=Ways(carrier, mirror=mirror))
                del left[0]
            except Conflict:  # being fetched by another process, whose end cannot be waited for
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(LOOK_EVERY_S)


def _needed(settings: Settings) -> list[str]:
    if settings.worker.engine == "fake":
        return []
    chosen = {"chat": settings.models.chat, "embedding": settings.models.embedding}
    return [role for role, name in chosen.items() if not name]
