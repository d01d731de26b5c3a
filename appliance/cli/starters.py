"""Gets the starter models before the first start, from inside the executable or from outside.

A server takes only what the executable carries: it does not download by itself, it says what is
missing. Opening the UI fetches the rest, with a bar. What fetches is imported when something is
missing: every start comes through here.
"""

from collections.abc import Sequence
from pathlib import Path

from appliance.frozen import executable_file
from appliance.settings import Settings, models_directory
from models.store import Store


def fetch_starters(settings: Settings) -> None:
    """The starter models this run needs, wherever they come from. Raises Unavailable, Conflict."""
    store = Store(models_directory(settings))
    missing = [role for role in _needed(settings) if not store.has(role)]
    if missing:
        _pull(store, missing, executable_file())


def take_carried(settings: Settings) -> None:
    """Those that travel in the executable and are not in the store. Raises Unavailable."""
    carrier = executable_file()
    if carrier is None:
        return
    store = Store(models_directory(settings))
    entries = {role: store.catalogue.require(role) for role in _needed(settings)}
    missing = [role for role, entry in entries.items() if not store.path(entry.name).exists()]
    if missing:
        from models.carried import carries

        _pull(store, [role for role in missing if carries(carrier, entries[role])], carrier)


def _pull(store: Store, roles: Sequence[str], carrier: Path | None) -> None:
    from rich.console import Console

    from models.cli import progress_on
    from models.pull import Ways, pull

    with progress_on(Console(stderr=True)) as report:
        for role in roles:
            pull(store, role, report=report, ways=Ways(carrier))


def _needed(settings: Settings) -> list[str]:
    if settings.worker.engine == "fake":
        return []
    chosen = {"chat": settings.models.chat, "embedding": settings.models.embedding}
    return [role for role, name in chosen.items() if not name]
