"""The worker process: builds an engine, serves the bus, ends with its parent.

Its configuration is one line of JSON on standard input; started by hand for an external store,
`sluice worker --redis URL` builds the same configuration from the settings. Exit status 78 means
that starting again will not help (a model that is missing or broken, not enough memory).
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import msgspec

from appliance.errors import EXIT_CANNOT_BOOT, EXIT_INTERNAL, EXIT_OK, EXIT_WEDGED, SluiceError
from appliance.supervisor.guard import (
    StatusLine,
    claim_stdout,
    die_with_parent,
    read_boot_line,
)
from appliance.supervisor.records import log_to_supervisor
from appliance.worker.config import WorkerConfig
from appliance.worker.jobs import Output

log = logging.getLogger("sluice.worker")

JOIN_TIMEOUT_S = 10.0


def main_supervised() -> int:
    """A child of the supervisor: configuration on standard input."""
    status = claim_stdout()
    line = read_boot_line()
    die_with_parent()
    if not line:
        return EXIT_INTERNAL
    return main(msgspec.json.decode(line, type=WorkerConfig), status)


def main(config: WorkerConfig, status: StatusLine | None = None) -> int:
    """Builds and serves until stopped; returns the exit status."""
    if status is not None:
        log_to_supervisor(config.log_level)
    else:
        logging.basicConfig(
            stream=sys.stderr,
            level=config.log_level.upper(),
            format="%(asctime)s %(levelname)-7s %(message)s",
        )
    try:
        return asyncio.run(_serve(config, status))
    except SluiceError as error:
        log.error("%s (%s)", error.message, error.hint)
        if error.exit_status == EXIT_CANNOT_BOOT and status is not None:
            status.cannot_boot(error.message, error.hint)
        return error.exit_status


async def _serve(config: WorkerConfig, status: StatusLine | None) -> int:
    from appliance.worker.abort_mark import AbortMark
    from appliance.worker.boot import build_engine  # loads the native library: not at import
    from appliance.worker.serve import Server
    from appliance.worker.watchdog import Watchdog

    loop = asyncio.get_running_loop()
    servers: list[Server] = []

    def emit(outputs: list[Output]) -> None:
        if outputs := watchdog.passed(outputs):
            loop.call_soon_threadsafe(servers[0].emit, outputs)

    def fatal(error: BaseException) -> None:
        log.critical("the engine cannot go on: %r", error)
        os._exit(EXIT_INTERNAL)

    def wedged(reason: str) -> None:
        log.critical("wedged: %s", reason)
        os._exit(EXIT_WEDGED)

    def progress(text: str, percent: int) -> None:
        if status is not None:
            status.progress(text, percent)

    mark = AbortMark(Path(config.abort_file)) if config.abort_file else None
    engine = await asyncio.to_thread(
        build_engine,
        config,
        emit=emit,
        on_fatal=fatal,
        progress=progress,
        was_aborted=mark is not None and mark.is_set,
    )
    watchdog = Watchdog(
        engine,
        wedged_after_s=config.wedged_after_s,
        probe_idle_s=config.probe_idle_s,
        give_up=wedged,
    )
    server = Server(config, engine)
    servers.append(server)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    engine.start()
    watchdog.start()
    try:
        await server.run(lambda: status.ready(engine.facts.model) if status else None)
    finally:
        watchdog.stop()
        engine.stop()
        engine.join(JOIN_TIMEOUT_S)  # leaving while the native library computes may crash
    return EXIT_OK
