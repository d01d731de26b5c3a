"""What `sluice models` does: list, pull, verify and import, in words for a person.

Results go to standard output, progress and faults to standard error, so a script can keep them
apart. On a terminal a pull shows a bar; elsewhere a plain line every few seconds. Names that
came from a file are shown as they are, never as markup. The exit status is the one of the error
table in `appliance.errors`; when several names are given, all are tried and the worst one counts.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from appliance.errors import EXIT_OK, EXIT_UNAVAILABLE, SluiceError
from appliance.frozen import executable_file
from models.catalogue import Catalogue
from models.pull import STARTERS, Report, Ways, ensure_starters, pull
from models.store import Listed, Store

__all__ = ["ensure_starters", "progress_on", "run"]

LINE_EVERY_S = 5.0
PIPE_COLUMNS = 160
_STATE_STYLES = {
    "present": "green",
    "unverified": "yellow",
    "partial": "yellow",
    "missing": "dim",
    "corrupt": "red",
}


def run(
    arguments: argparse.Namespace,
    directory: Path,
    *,
    mirror: str = "",
    catalogue: Catalogue | None = None,
) -> int:
    """Carry out one sub-command on the store in `directory`; the exit status.

    `mirror` is the one of the settings; `--mirror` overrides it. `catalogue` replaces the one
    that comes with the product.
    """
    out, err = _console(), _console(stderr=True)
    store = Store(directory, catalogue)
    match arguments.models_command:
        case "list":
            return _guarded(err, lambda: _list(store, out))
        case "pull":
            chosen = mirror if arguments.mirror is None else arguments.mirror
            ways = Ways(executable_file(), mirror=chosen, wheels=arguments.wheels)
            return _pull(store, arguments.names or list(STARTERS), ways, out, err)
        case "verify":
            return _verify(store, arguments.names, out, err)
        case _:
            return _guarded(err, lambda: _import(store, arguments, out))


@contextmanager
def progress_on(
    console: Console, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Report]:
    """A report function for `pull` that shows a bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        yield _lines_on(console, clock)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as bars:

        def report(name: str, done_bytes: int, total_bytes: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total_bytes)
            bars.update(tasks[name], completed=done_bytes, total=total_bytes)

        yield report


def _lines_on(console: Console, clock: Callable[[], float]) -> Report:
    told_at: dict[str, float] = {}

    def report(name: str, done_bytes: int, total_bytes: int) -> None:
        now = clock()
        first = name not in told_at
        if first or done_bytes == total_bytes or now - told_at[name] >= LINE_EVERY_S:
            told_at[name] = now
            percent = 100 * done_bytes // max(total_bytes, 1)
            _say(console, f"{name}: {_size(done_bytes)} of {_size(total_bytes)} ({percent} %)")

    return report


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS  # nothing is cut off in a file or a pipe
    return console


def _guarded(err: Console, action: Callable[[], None]) -> int:
    try:
        action()
    except SluiceError as error:
        _say(err, error.message)
        if error.hint:
            _say(err, f"  {error.hint}")
        return error.exit_status
    except OSError as error:
        _say(err, f"{error.filename or 'The directory of weights'}: {error.strerror or error}.")
        return EXIT_UNAVAILABLE
    return EXIT_OK


def _list(store: Store, out: Console) -> None:
    lines = store.listing()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("NAME", "KIND", "SIZE", "LICENCE", "CONTEXT", "STATE"):
        justify: JustifyMethod = "right" if column in ("SIZE", "CONTEXT") else "left"
        table.add_column(column, justify=justify, no_wrap=column != "LICENCE")
    notes = Table.grid(padding=(0, 1))
    notes.add_column(no_wrap=True, style="dim")
    for line in lines:
        entry = line.entry
        table.add_row(
            Text(line.name),
            line.kind,
            _size(line.size_bytes),
            entry.licence if entry else "?",
            f"{entry.context_tokens:,}" if entry else "?",
            Text(_state(line), style=_STATE_STYLES[line.state]),
        )
        notes.add_row(Text(line.name), entry.note if entry else "Imported from a file.")
    out.print(table, "", notes, sep="\n")


def _state(line: Listed) -> str:
    if line.state != "partial":
        return line.state
    return f"{_size(line.here_bytes)} here"


def _pull(store: Store, names: list[str], ways: Ways, out: Console, err: Console) -> int:
    worst = EXIT_OK
    for name in names:
        paths: list[Path] = []

        def fetch(name: str = name, paths: list[Path] = paths) -> None:
            with progress_on(err) as report:
                paths.append(pull(store, name, report=report, ways=ways))

        worst = max(worst, _guarded(err, fetch))
        for path in paths:
            _say(out, str(path))
    return worst


def _verify(store: Store, names: list[str], out: Console, err: Console) -> int:
    here = [one.name for one in store.listing() if one.state not in ("missing", "partial")]
    worst = EXIT_OK
    for name in names or here:
        entry = store.catalogue.by_role(name)

        def check(name: str = entry.name if entry else name) -> None:
            found = store.verify(name)
            _say(out, f"{name}: whole, sha256 {found.sha256}")

        worst = max(worst, _guarded(err, check))
    return worst


def _import(store: Store, arguments: argparse.Namespace, out: Console) -> None:
    found = store.import_file(arguments.path, kind=arguments.kind, name=arguments.name)
    _say(out, f"{found.name} ({found.kind}): {_size(found.size_bytes)}, sha256 {found.sha256}")
    _say(out, f'To use it: {found.kind} = "{found.name}" under [models] in settings.toml.')


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True, highlight=False)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
