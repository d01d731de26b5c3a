"""One running process: its pipes, its last words, its end.

An asyncio subprocess protocol rather than `asyncio.subprocess.Process`, because `wait` of the
latter returns only when every holder of the pipes is gone (CPython issue gh-119710), so a
grandchild that keeps standard error open would hide the death of the child. Here the end is told
at most `PIPES_GRACE_S` after the process is gone, and its whole group is killed then.

Standard output of our own children carries status lines; everything else is a log line, read by
the child's own rule (`records` for ours). Every buffer is bounded: lines are cut, floods
are counted instead of logged.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from typing import Literal, cast

import msgspec

from appliance.supervisor.records import Record

LAST_WORDS_CHARS = 4_096
LINE_LIMIT_BYTES = 32_768
LINES_PER_S = 200
PIPES_GRACE_S = 0.5
REAP_TIMEOUT_S = 5.0


class StatusEvent(msgspec.Struct, frozen=True):
    """What a child says of itself on its status channel."""

    event: Literal["ready", "progress", "cannot_boot"]
    detail: str = ""
    hint: str = ""
    percent: int = 0


class Lines:
    """Cuts a byte stream into lines of bounded length; the rest of an overlong line is dropped."""

    def __init__(self, limit_bytes: int = LINE_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._rest = b""
        self._overlong = False

    def feed(self, data: bytes) -> list[bytes]:
        *complete, rest = (self._rest + data).split(b"\n")
        lines = []
        for line in complete:
            if not self._overlong:
                lines.append(line[: self._limit])
            self._overlong = False
        if len(rest) > self._limit:
            if not self._overlong:
                lines.append(rest[: self._limit])
            self._overlong, rest = True, b""
        self._rest = rest
        return lines

    def close(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        return [rest] if rest and not self._overlong else []


class RunningProcess(asyncio.SubprocessProtocol):
    """Follows one process. `ended` resolves to its exit status, negative for a signal."""

    def __init__(
        self,
        *,
        log: logging.Logger,
        read_line: Callable[[bytes], Record],
        on_status: Callable[[StatusEvent], None] | None,
    ) -> None:
        self._log = log
        self._read_line = read_line
        self._on_status = on_status
        self._transport: asyncio.SubprocessTransport | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._stdout = Lines()
        self._stderr = Lines()
        self._words = ""
        self._second = 0
        self._lines_this_second = 0
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def last_words(self) -> str:
        """The last 4,096 characters of what it warned of and printed: the routine is no reason."""
        return self._words.strip()

    def tell(self, line: str) -> None:
        """Writes the boot line; standard input stays open as the parent-life pipe."""
        assert self._transport is not None
        stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        stdin.write(line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL goes to the whole group, everything else to the process alone."""
        if self._transport is None or self._transport.get_returncode() is not None:
            return
        pid = self._transport.get_pid()
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    async def abandon(self) -> None:
        """Kills the process if it lives and waits until the kernel has reaped it."""
        self.signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):  # the kernel cannot end it now, nor can we
            async with asyncio.timeout(REAP_TIMEOUT_S):
                await asyncio.shield(self.ended)

    # --- called by asyncio ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1 and self._on_status is not None:
            for line in self._stdout.feed(data):
                self._status(line)
        else:
            for line in self._stderr.feed(data):
                self._log_line(line)

    def process_exited(self) -> None:
        assert self._transport is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)  # what it forked and left behind
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(PIPES_GRACE_S, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()
        for line in self._stderr.close():
            self._log_line(line)
        status = self._transport.get_returncode() if self._transport is not None else None
        if not self.ended.done():
            self.ended.set_result(-signal.SIGKILL if status is None else status)

    # --- lines ------------------------------------------------------------------------------

    def _status(self, line: bytes) -> None:
        assert self._on_status is not None
        try:
            event = msgspec.json.decode(line, type=StatusEvent)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._log_line(line)  # printed before it claimed standard output
        else:
            self._on_status(event)

    def _log_line(self, line: bytes) -> None:
        read = self._read_line(line)
        traceback = "\n".join(map(printable, read.traceback.splitlines()))
        record = Record(read.level, printable(read.message), traceback)
        if record.level >= logging.WARNING:
            self._words = f"{self._words}\n{record.words}"[-LAST_WORDS_CHARS:]
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            if self._lines_this_second > LINES_PER_S:
                self._log.warning("%d lines dropped", self._lines_this_second - LINES_PER_S)
            self._second, self._lines_this_second = second, 0
        self._lines_this_second += 1
        if record.message and self._lines_this_second <= LINES_PER_S:
            self._hand_on(record)

    def _hand_on(self, record: Record) -> None:
        """Logs it as if it had been logged here, its traceback beneath."""
        if self._log.isEnabledFor(record.level):
            made = self._log.makeRecord(
                self._log.name, record.level, __file__, 0, "%s", (record.message,), None
            )
            made.exc_text = record.traceback or None
            self._log.handle(made)


def printable(line: str) -> str:
    """A child's line without terminal escapes: what is not printable is shown as an escape."""
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in line.rstrip())
