"""The layout of a data directory: a number, and the steps from each one to the next.

A newer layout is refused before a byte is touched, and before its settings are read, which may have
keys unknown here. An older one is backed up first, then brought forward step by step; the number is
written after each step, so a step that was interrupted runs again and must not mind. Going back is
restoring that backup with the older version.
"""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from appliance import __version__
from appliance.errors import CannotBoot
from appliance.settings import Settings, load
from appliance.supervisor.directory import told_of_room

log = logging.getLogger("sluice")

LAYOUT = 1
FILE_NAME = "layout.json"

Step = Callable[[Path], None]
STEPS: Mapping[int, Step] = {}
"""`STEPS[n]` brings the directory of layout n to layout n + 1."""


class _Told(msgspec.Struct, frozen=True):
    layout: int
    version: str


def layout_of(data: Path) -> int:
    """The layout of a data directory; 1, the first, where nothing says so."""
    return _told(data).layout


def settings_of(data: Path) -> Settings:
    """The settings of a data directory.

    Raises CannotBoot when a newer version wrote it or a full disk does not take the example, else
    what `load` raises.
    """
    _require_known(data, LAYOUT)
    with told_of_room(data):
        return load(data)


def settle(
    data: Path,
    back_up: Callable[[str], Path],
    *,
    layout: int = LAYOUT,
    steps: Mapping[int, Step] = STEPS,
) -> None:
    """Brings the directory to this version's layout. The caller holds its lock.

    `back_up` makes a backup called as it is told, and returns where it lies. Raises CannotBoot
    for a newer layout, or while a restore is unfinished.
    """
    if (data / "restoring").exists():
        raise CannotBoot(
            f"a restore into {data} was interrupted",
            hint="run `sluice restore FILE` again; what was there before lies in before-restore-…",
        )
    told = _require_known(data, layout)
    if told.layout < layout:
        made = back_up(f"layout-{told.layout}-before-{layout}")
        log.info("backed up to %s; `sluice restore` with version %s goes back", made, told.version)
        for number in range(told.layout, layout):
            steps[number](data)
            _write(data, number + 1)
            log.info("brought %s to layout %d", data, number + 1)
    elif not (data / FILE_NAME).exists():
        _write(data, layout)


def newer(what: Path, layout: int, version: str) -> CannotBoot:
    """The error for data of a later version."""
    return CannotBoot(
        f"{what} was written by Sluice {version} with layout {layout}; this one knows {LAYOUT}",
        hint=f"use Sluice {version} or newer; to go back, restore a backup made before the upgrade",
    )


def _require_known(data: Path, layout: int) -> _Told:
    told = _told(data)
    if told.layout > layout:
        raise newer(data, told.layout, told.version)
    return told


def _told(data: Path) -> _Told:
    path = data / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Told)
    except FileNotFoundError:
        return _Told(1, __version__)
    except (OSError, msgspec.MsgspecError) as error:
        raise CannotBoot(f"{path} cannot be read: {error}", hint="restore a backup") from None


def _write(data: Path, layout: int) -> None:
    """Whole or not at all, also when the power goes."""
    fresh = data / f"{FILE_NAME}.new"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(_Told(layout, __version__)))
        file.flush()
        os.fsync(descriptor)
    fresh.rename(data / FILE_NAME)
