"""Gets the starter models before the first start, from inside the executable or from outside.

A server takes only what the executable carries: it does not download by itself, it says what is
missing. Opening the UI fetches the rest, with a bar.
"""

from rich.console import Console

from appliance.frozen import executable_file
from appliance.settings import Settings, models_directory


def fetch_starters(settings: Settings) -> None:
    """The starter models this run needs, wherever they come from. Raises Unavailable, Conflict."""
    from models.cli import progress_on
    from models.pull import Ways, pull
    from models.store import Store

    store, ways = Store(models_directory(settings)), Ways(executable_file())
    with progress_on(Console(stderr=True)) as report:
        for role in _needed(settings):
            pull(store, role, report=report, ways=ways)


def take_carried(settings: Settings) -> None:
    """Those that travel in the executable and are not in the store. Raises Unavailable."""
    carrier = executable_file()
    if carrier is None:
        return
    from models.carried import carries
    from models.cli import progress_on
    from models.pull import Ways, pull
    from models.store import Store

    store = Store(models_directory(settings))
    for role in _needed(settings):
        entry = store.catalogue.require(role)
        if not store.path(entry.name).exists() and carries(carrier, entry):
            with progress_on(Console(stderr=True)) as report:
                pull(store, role, report=report, ways=Ways(carrier))


def _needed(settings: Settings) -> list[str]:
    if settings.worker.engine == "fake":
        return []
    chosen = {"chat": settings.models.chat, "embedding": settings.models.embedding}
    return [role for role, name in chosen.items() if not name]
