"""What the tests of `models` share: writers of their own for GGUF, wheels and catalogues, and a
file server that can be told to misbehave. Nothing here imports the code that it helps to judge,
except the catalogue's records, which are the input of what is tested."""

import base64
import hashlib
import struct
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from models.catalogue import Catalogue, Entry, FromHttps, FromPackages, Package, Roles


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- GGUF ---------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def string_key(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def u32_key(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def strings_key(key: str, values: Sequence[str]) -> bytes:
    head = text(key) + struct.pack("<IIQ", 9, 8, len(values))
    return head + b"".join(map(text, values))


def floats_key(key: str, values: Sequence[float]) -> bytes:
    return text(key) + struct.pack(f"<IIQ{len(values)}f", 9, 6, len(values), *values)


def tensor(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


@dataclass
class Gguf:
    """A GGUF with two small tensors; change a field to get a faulty one."""

    magic: bytes = b"GGUF"
    version: int = 3
    keys: list[bytes] = field(
        default_factory=lambda: [
            string_key("general.architecture", "llama"),
            u32_key("llama.context_length", 128),
            strings_key("tokenizer.ggml.tokens", ["<s>", "</s>", "你好"]),
            floats_key("tokenizer.ggml.scores", [0.0, 0.0, -1.5]),
        ]
    )
    tensors: list[bytes] = field(
        default_factory=lambda: [
            tensor("token_embd.weight", (32, 3), 2, 0),  # 3 rows of one Q4_0 block: 54 bytes
            tensor("output_norm.weight", (32,), 0, 64),  # 32 floats: 128 bytes
        ]
    )
    tensor_count: int | None = None
    key_count: int | None = None
    alignment: int = 32
    weights: bytes = bytes(range(192))

    def build(self) -> bytes:
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        keys = len(self.keys) if self.key_count is None else self.key_count
        head = self.magic + struct.pack("<IQQ", self.version, tensors, keys)
        head += b"".join(self.keys) + b"".join(self.tensors)
        return head + bytes(-len(head) % self.alignment) + self.weights


# --- catalogues ---------------------------------------------------------------------------------


def entry_of(
    content: bytes,
    *sources: FromPackages | FromHttps,
    name: str = "tiny",
    kind: str = "chat",
) -> Entry:
    return Entry(
        name=name,
        kind="embedding" if kind == "embedding" else "chat",
        file=f"{name}.gguf",
        size_bytes=len(content),
        sha256=sha256(content),
        licence="MIT",
        context_tokens=128,
        template="none",
        note="For a test.",
        sources=sources or (FromHttps("https://weights.invalid/tiny.gguf"),),
    )


def catalogue_of(*entries: Entry) -> Catalogue:
    """The first entry is the chat starter, the last the embedding starter."""
    first, last = entries[0].name, entries[-1].name
    return Catalogue(roles=Roles(chat=first, embedding=last, test_chat=first), entry=entries)


# --- wheels -------------------------------------------------------------------------------------


def write_wheel(
    folder: Path, name: str, members: dict[str, bytes], version: str = "1.0"
) -> Package:
    """A wheel that holds `members`, and its pin."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    everything = members | {
        f"{stem}.dist-info/METADATA": metadata,
        f"{stem}.dist-info/WHEEL": tags,
    }
    lines = []
    for path, content in everything.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    record = f"{stem}.dist-info/RECORD"
    everything[record] = "".join([*lines, f"{record},,\n"]).encode()
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in everything.items():
            archive.writestr(path, content)
    return pin(wheel, name, version)


def pin(wheel: Path, name: str, version: str = "1.0") -> Package:
    content = wheel.read_bytes()
    return Package(name, version, len(content), sha256(content))


# --- a file server ------------------------------------------------------------------------------


@dataclass
class FileServer:
    """Serves `body` at every path. Each request takes the next act of `script`, then `honest`.

    honest        ranges, If-Range and ETag as the standard has them
    cut:N         as honest, but the connection ends after N bytes of body
    stall:N       as honest, but after N bytes it waits until `go_on` is set
    whole[:N]     ignores Range; with N, cut after N bytes
    blind:N       appends N bytes too many, without telling a length
    long:N        tells and sends N bytes too many (or too few, when negative)
    shifted       206 with a range that begins one byte later than asked
    retagged      206 for the range asked, from a file with another tag
    NNN[:S]       that status, with Retry-After S
    """

    body: bytes
    tag: str = '"one"'
    script: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def ranges(self) -> list[str]:
        """The Range header of each request so far, empty where there was none."""
        return [headers.get("Range", "") for headers in self.asked]


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.asked.append(dict(self.headers.items()))
            server.paths.append(self.path)
            act = server.script.pop(0) if server.script else "honest"
            _play(self, server, *act.partition(":")[::2])

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that hangs up in the middle is what some tests do

    with Quiet(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        try:
            yield server
        finally:
            server.go_on.set()
            http.shutdown()
            thread.join()


def _play(handler: BaseHTTPRequestHandler, server: FileServer, act: str, number: str) -> None:
    if act.isdigit():
        handler.send_response(int(act))
        if number:
            handler.send_header("Retry-After", number)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    asked = handler.headers.get("Range", "")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    if act == "whole" or handler.headers.get("If-Range", server.tag) != server.tag:
        start = 0
    if start and start >= len(server.body):
        _play(handler, server, "416", "")
        return
    content = server.body[start:]
    if act in ("long", "blind"):
        content = content + bytes(int(number)) if int(number) > 0 else content[: int(number)]
    handler.send_response(206 if start else 200)
    handler.send_header("ETag", '"other"' if act == "retagged" else server.tag)
    if start:
        first = start + 1 if act == "shifted" else start
        last = len(server.body) - 1
        handler.send_header("Content-Range", f"bytes {first}-{last}/{len(server.body)}")
    if act != "blind":
        handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    _send(handler, server, act, content, int(number) if number else len(content))


def _send(
    handler: BaseHTTPRequestHandler, server: FileServer, act: str, content: bytes, count: int
) -> None:
    if act == "stall":
        handler.wfile.write(content[:count])
        handler.wfile.flush()
        server.stalled.set()
        server.go_on.wait()
        handler.wfile.write(content[count:])
        return
    if act in ("cut", "whole"):
        handler.wfile.write(content[:count])
        handler.close_connection = count < len(content)
        return
    handler.wfile.write(content)
    handler.close_connection = act == "blind"
