"""The embedded vector index (Milvus Lite) as a process of its own.

    milvus --directory D --socket S

What it holds is derived from the store and can be rebuilt, so a collection that cannot be opened
(a power cut leaves empty files behind) is set aside under `damaged/` and missed by nobody for
long: the owner finds it absent and fills a new one. Every collection is loaded and flushed before
`ready` is said: loaded, because an index starts released; flushed, because after a crash at the
wrong moment Milvus Lite answers every row of its log twice until the next flush.

Parquet files are synced when written: Milvus Lite 3.2 syncs the manifest that names them and
deletes the log that could replace them, but not the files themselves.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from appliance.errors import EXIT_CANNOT_BOOT, EXIT_OK
from appliance.supervisor.guard import StatusLine, claim_stdout, die_with_parent, hold
from appliance.supervisor.records import log_to_supervisor
from appliance.vectors import quick
from appliance.vectors.lean import without_pandas

RPC_THREADS = 4
STOP_GRACE_S = 2.0
MESSAGE_LIMIT_BYTES = 256 * 1024 * 1024

log = logging.getLogger("sluice.milvus")


def main(argv: Sequence[str]) -> int:
    """Serves until SIGTERM, or until the parent is gone. Returns the exit status."""
    # Blocked before any thread exists, so that only `sigwait` below ever sees them.
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    status = claim_stdout()
    die_with_parent()
    log_to_supervisor("warning")
    logging.getLogger("grpc._server").addFilter(_is_news)
    options = _options(argv)
    hold(str(options.directory / "in-use"))
    try:
        _make_parquet_durable()
        database = _open(options.directory / "index", status)
        server = _listen(database, options.socket)
    except (ImportError, OSError, RuntimeError) as error:
        status.cannot_boot(f"{type(error).__name__}: {error}")
        return EXIT_CANNOT_BOOT
    status.ready()
    signal.sigwait(stops)
    server.stop(STOP_GRACE_S).wait()
    database.close()
    return EXIT_OK


def _is_news(record: logging.LogRecord) -> bool:
    """Clients ask for calls that Milvus Lite does not have, and do without them."""
    return not (record.exc_info and isinstance(record.exc_info[1], NotImplementedError))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sluice milvus")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    return parser.parse_args(argv)


def _open(directory: Path, status: StatusLine) -> Any:  # Any: milvus_lite ships no types
    """Opens the database with every collection loaded and flushed, or set aside."""
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"  # read at import: no `.env` of the current folder
    with without_pandas():
        import pymilvus  # noqa: F401 # Milvus Lite finds it imported
    from milvus_lite import MilvusLite

    quick.install()
    database = MilvusLite(str(directory))
    for name in database.list_collections():
        status.progress(f"opening {name}")
        try:
            collection = database.get_collection(name)
            collection.load()
            collection.flush()
        except Exception as error:  # whatever is wrong with it, it can be built again
            log.error("collection %s cannot be opened and is set aside: %s", name, error)
            _set_aside(directory, name)
            return _reopened(database, directory, status)
    return database


def _reopened(database: Any, directory: Path, status: StatusLine) -> Any:
    """A database that never saw the damaged collection. Ends: each call has one fewer."""
    database.close()
    return _open(directory, status)


def _set_aside(directory: Path, name: str) -> None:
    target = directory.parent / "damaged" / name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    (directory / "collections" / name).rename(target)


def _listen(database: Any, socket: Path) -> Any:
    """A gRPC server on the socket. Built here for its options: a client may ping at any rate."""
    import grpc  # type: ignore[import-untyped] # grpcio ships no types
    from milvus_lite.adapter.grpc.servicer import MilvusServicer
    from pymilvus.grpc_gen import milvus_pb2_grpc

    server = grpc.server(
        ThreadPoolExecutor(RPC_THREADS, thread_name_prefix="rpc"),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 0),
            ("grpc.http2.max_ping_strikes", 0),
        ],
    )
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(database), server)
    socket.unlink(missing_ok=True)  # of a predecessor: we hold the lock, so it is dead
    server.add_insecure_port("unix:" + quote(os.fsencode(socket)))
    socket.chmod(0o600)
    server.start()
    return server


def _make_parquet_durable() -> None:
    import pyarrow.parquet as parquet  # type: ignore[import-untyped] # ships no types

    write: Any = parquet.write_table

    def write_and_sync(table: Any, where: str, *args: Any, **kwargs: Any) -> None:
        write(table, where, *args, **kwargs)
        for path in (where, os.path.dirname(where)):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    parquet.write_table = write_and_sync


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
