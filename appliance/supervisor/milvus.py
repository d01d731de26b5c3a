"""How to run the embedded vector index as a child (`appliance.vectors.server` is the child).

Its own process, because each of its queries holds the interpreter for milliseconds, and a unix
socket, because it knows no authentication. The memtable is kept small: rows that are not flushed
are searched row by row, fifty times slower.
"""

import asyncio
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from appliance.supervisor.child import ChildSpec
from appliance.supervisor.directory import private_directory, socket_path
from appliance.supervisor.guard import own_command
from appliance.supervisor.machine import Policy

NAME = "milvus"
SOCKET_NAME = "milvus.sock"
MEMTABLE_BYTES = 4_000_000

_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and empty SETTINGS
_FRAME_HEADER_BYTES = 9
_SETTINGS = 4


@dataclass(frozen=True)
class EmbeddedMilvus:
    """`uri` is what `Vectors.open` takes."""

    child: ChildSpec
    uri: str


def embedded_milvus(
    directory: Path, sockets: Path, *, policy: Policy | None = None
) -> EmbeddedMilvus:
    """Says how to start the index kept in `directory`, reached through `sockets`."""
    private_directory(directory)
    scratch = private_directory(directory / "tmp")
    socket = socket_path(sockets, SOCKET_NAME)
    child = ChildSpec(
        name=NAME,
        command=own_command("milvus", "--directory", str(directory), "--socket", str(socket)),
        directory=directory,
        extra_environment={
            "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": str(MEMTABLE_BYTES),
            "TMPDIR": str(scratch),
            "GRPC_VERBOSITY": "NONE",
            # The thread budget belongs to the engine; this index is small.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        watch=functools.partial(answers, socket),
        needs=(),
        policy=policy or Policy(start_timeout_s=120.0, stop_timeout_s=10.0),
    )
    return EmbeddedMilvus(child, socket_uri(socket))


async def answers(socket: Path) -> bool:
    """True when a gRPC server greets us, as HTTP/2 wants it: with a SETTINGS frame.

    The socket accepts connections even while its process is stopped, so connecting proves nothing.
    """
    reader, writer = await asyncio.open_unix_connection(os.fspath(socket))
    try:
        writer.write(_HTTP2_HELLO)
        await writer.drain()
        return (await reader.readexactly(_FRAME_HEADER_BYTES))[3] == _SETTINGS
    finally:
        writer.close()


def socket_uri(socket: Path) -> str:
    """gRPC decodes percent escapes in a path, so a literal percent sign must be one."""
    return "unix:" + quote(os.fsencode(socket))
