"""Opening the terminal UI: on the appliance that runs, or on one started for it.

The appliance runs in a process of its own even then: a UI that stutters or crashes takes no
answer with it, and there is one door for everybody. An appliance started for a UI ends with it.

The UI opens as soon as connections are taken; what it asks is answered once the store is there,
while models are still loading, which it shows.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from appliance.backup.layout import settings_of
from appliance.cli.first_models import take
from appliance.cli.run_log import UI_LOG, move_aside
from appliance.errors import (
    EXIT_ALREADY_RUNNING,
    EXIT_UNAVAILABLE,
    NotFound,
    SluiceError,
    Unavailable,
)
from appliance.runtime.keyfile import FILE_NAME as KEY_NAME
from appliance.runtime.options import Options
from appliance.settings.file import change
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.guard import PARENT_VARIABLE, own_command
from appliance.supervisor.lock import awaited, sight

STOP_TIMEOUT_S = 30.0


def open_ui(options: Options) -> int:
    """Attaches to the running appliance of the data directory, or starts one first."""
    _need_terminal()
    data = prepare_data_directory(options.data_directory)
    seen = sight(data)
    if seen.running is not None and seen.state == "running":
        return _run_ui(seen.running.url, data / KEY_NAME, data, is_ours=True)
    try:
        return _start_and_open(options, data)
    except _Failed as failed:
        taken = failed.exit_status == EXIT_ALREADY_RUNNING
        running = awaited(data) if taken else None
        if running is None:
            raise
    return _run_ui(running.url, data / KEY_NAME, data, is_ours=True)


def attach_ui(
    options: Options, *, url: str | None, key_file: Path | None, language: str | None
) -> int:
    """Opens the UI of an appliance that runs, here or elsewhere. Raises NotFound without one."""
    _need_terminal()
    data = prepare_data_directory(options.data_directory)
    if url is None:
        seen = sight(data)
        if seen.running is None or seen.state != "running":
            raise NotFound(
                f"no appliance runs on {data}", hint="start one with `sluice`, or give --url"
            )
        url = seen.running.url
    return _run_ui(url, key_file or data / KEY_NAME, data, language)


def has_terminal() -> bool:
    """True where the UI can be drawn and keys can be read."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _need_terminal() -> None:
    if not has_terminal():
        raise Unavailable("the terminal UI needs a terminal", hint="use `sluice serve` without one")


def _start_and_open(options: Options, data: Path) -> int:
    log = data / UI_LOG
    move_aside(log)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            _serve_command(options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            env=os.environ | {PARENT_VARIABLE: str(os.getpid())},
            start_new_session=True,
            bufsize=0,
        )
    started = _Started(process, log)
    try:
        with _shown("starting Sluice… 正在启动 Sluice…"):
            import ui.app  # noqa: F401 # half a second, in which the appliance starts

            url = started.serving()
        status = _run_ui(url, data / KEY_NAME, data, until=started.ended, is_ours=True)
        started.require()
        return status
    finally:
        _stop(process)


def _shown(words: str) -> AbstractContextManager[object]:
    from rich.console import Console  # after the appliance was started, which takes longer

    return Console(stderr=True).status(words)


def _serve_command(options: Options) -> list[str]:
    command = list(
        own_command("serve", "--early", "--missing", "ask", "--data", str(options.data_directory))
    )
    for name, value in (
        ("--host", options.host),
        ("--port", options.port),
        ("--model", options.model),
        ("--embedding-model", options.embedding_model),
        ("--engine", options.engine),
    ):
        if value is not None:
            command += [name, str(value)]
    return command


class _Started:
    """The appliance that was started for the UI, and what it says on its standard output."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        """`process` must have an unbuffered pipe as its standard output."""
        self._process = process
        self._log = log
        self._has_failed = False
        self._was_ready = False

    def serving(self) -> str:
        """The address, once connections are taken. Raises _Failed with its last words."""
        assert self._process.stdout is not None
        word, _, url = self._process.stdout.readline().decode().strip().partition(" ")
        if word != "serving" or not url:
            self._has_failed = True
        self.require()
        return url

    async def ended(self) -> None:
        """Returns when it ends, whether it became ready before or not."""
        assert self._process.stdout is not None
        said = os.fdopen(os.dup(self._process.stdout.fileno()), "rb", buffering=0)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), said
        )
        try:
            while line := await reader.readline():
                self._was_ready = self._was_ready or line.startswith(b"ready ")
            self._has_failed = True
        finally:
            transport.close()

    def require(self) -> None:
        """Raises _Failed with its last words if it did not start, or ended by itself."""
        if self._has_failed:
            self._process.wait()
            words = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-4:]
            what = "has ended" if self._was_ready else "did not start"
            message = "\n".join([f"the appliance {what}:", *words])
            raise _Failed(message, self._process.returncode)


class _Failed(SluiceError):
    """The child's own exit status is passed on, unless a signal ended it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, hint="`sluice doctor` checks the parts")
        self.exit_status = status if status > 0 else EXIT_UNAVAILABLE  # type: ignore[misc]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with _shown("stopping Sluice… 正在停止 Sluice…"):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _run_ui(
    url: str,
    key_file: Path,
    data: Path,
    language: str | None = None,
    until: Callable[[], Coroutine[Any, Any, None]] | None = None,
    *,
    is_ours: bool = False,
) -> int:
    """Runs the UI; an appliance of ours works on `data`, and can be brought models."""
    from ui.app import Theme, run

    try:
        key = key_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"the key cannot be read: {error}", hint="give --key-file") from None
    bring = partial(take, data=data) if is_ours else None
    settings = settings_of(data).ui
    return run(
        url,
        key,
        language=language or settings.language or None,
        log_file=data / "ui.log",
        until=until,
        bring=bring,
        theme=Theme(settings.theme, partial(keep_theme, data)),
    )


def keep_theme(data: Path, name: str) -> None:
    """The next UI on this machine begins with it, where the settings can be written."""
    with suppress(SluiceError):
        change(data, "ui", "theme", name)
