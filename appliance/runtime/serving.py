"""A process's lives: one appliance after another, each with the settings as they are by then.

Mostly there is one. Another begins when the operator chooses another chat model: the first life
drains and ends as at any stop, the socket stays open, so that whoever calls meanwhile waits instead
of being refused, and the next life reads the settings again. A life that does not become ready with
the new model is followed by one with the model before, which can say what was wrong.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.access.situation import Situation
from appliance.backup.layout import settings_of
from appliance.backup.upgrade import settle_layout
from appliance.clock import now_ms
from appliance.errors import SluiceError
from appliance.fleet.downloads import Downloads
from appliance.frozen import executable_file
from appliance.limiter.rule_process import check_rule
from appliance.log_ring import LogRing
from appliance.runtime import keyfile, logs
from appliance.runtime.appliance import Appliance
from appliance.runtime.children import family, lacking_weights
from appliance.runtime.http import address, allow_files, bind
from appliance.runtime.options import Options
from appliance.settings import Settings, load, models_directory
from appliance.settings.file import change
from appliance.supervisor.directory import prepare_data_directory, told_of_room
from appliance.supervisor.lock import DataLock, Running
from models.pull import Ways
from models.store import Store

log = logging.getLogger("sluice")

GIVEN = "the chat model was given on the command line"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Hears the address, twice: when connections are taken, and when questions can be answered."""

    ready: Callable[[str], None]
    serving: Callable[[str], None] = lambda where: None


def serve(options: Options, listener: Listener) -> int:
    """Runs an appliance until it is told to stop; returns the exit status.

    Raises SluiceError for whatever keeps it from starting.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the thread budget belongs to the engine
    data = prepare_data_directory(options.data_directory)
    settings = options.applied(settings_of(data))
    check_rule(settings.limiter)
    lock = DataLock.take(data)
    try:
        with told_of_room(data):
            ring = logs.set_up(data, settings.log)
            settle_layout(data)
            allow_files(settings.server)
            with bind(settings.server) as bound:
                return _Lives(options, data, lock, bound, ring).run(settings, listener)
    finally:
        lock.release()


def print_ready(where: str) -> None:
    """The one line that `serve` prints on standard output."""
    _print("ready", where)


def print_serving(where: str) -> None:
    """Printed before it for who opens the UI meanwhile, see `cli.attach`."""
    _print("serving", where)


def _print(word: str, where: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever started it may not read any more
        sys.stdout.write(f"{word} {where}\n")
        sys.stdout.flush()


class _Lives:
    """What stays when one life follows another."""

    def __init__(
        self, options: Options, data: Path, lock: DataLock, bound: socket.socket, ring: LogRing
    ) -> None:
        self._options = options
        self._data = data
        self._lock = lock
        self._bound = bound
        self._ring = ring

    def run(self, settings: Settings, listener: Listener) -> int:
        store = Store(models_directory(settings))
        downloads = Downloads(store, Ways(executable_file(), mirror=settings.models.mirror))
        key, ready = keyfile.admin_key(self._data), once(listener.ready)
        where = address(self._bound)
        self._lock.announce(Running(pid=os.getpid(), url=where, started_at_ms=now_ms()))
        listener.serving(where)  # who comes now waits until the API answers
        trouble: SluiceError | None = None  # of the life before
        before: str | None = None  # the chat model of the life before
        missing = self._options.missing
        try:
            while True:
                situation = Situation(
                    data=self._data,
                    key_file=self._data / keyfile.FILE_NAME,
                    downloads=downloads,
                    lacking=self._lacking,
                    fetches=missing == "fetch" or before is not None,
                    unattended=missing == "fetch",
                    fixed=GIVEN if self._options.model is not None else "",
                    trouble=trouble.message if trouble is not None else "",
                    trouble_reason=trouble.reason if trouble is not None else "",
                    trouble_facts=trouble.facts if trouble is not None else {},
                )
                life: Appliance | None = None
                try:
                    life = Appliance(
                        settings,
                        self._options,
                        family(settings, self._data, may_lack=missing != "refuse"),
                        self._bound,
                        self._ring,
                        situation,
                    )
                    status = asyncio.run(life.run(key, ready))
                except SluiceError as error:
                    if before is None or (life is not None and life.was_ready):
                        raise
                    log.error("back to the chat model before: %s", error.message)
                    change(self._data, "models", "chat", before)
                    trouble, before = error, None
                else:
                    if life.replaced is None:
                        return status
                    trouble, before = None, life.replaced
                settings = self._options.applied(load(self._data))
        finally:
            downloads.stop()

    def _lacking(self) -> Sequence[str]:
        """By the settings as they are now: somebody may have brought a model along."""
        return lacking_weights(self._options.applied(load(self._data)))


def once(call: Callable[[str], None]) -> Callable[[str], None]:
    """A function that calls `call` the first time only."""
    calls: list[str] = []

    def first(argument: str) -> None:
        if not calls:
            calls.append(argument)
            call(argument)

    return first
