"""`sluice bundle`: models, settings and FAQ in one verified file, for machines without a network.

What is here already stays: weights of the same checksum are not copied again, settings that a
person changed are not replaced, and FAQ entries come in by the import that everybody uses. So an
import can be repeated, and is, for the FAQ needs a running appliance on either side.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec

from appliance.backup import archive
from appliance.backup.archive import Source
from appliance.backup.layout import LAYOUT, settings_of
from appliance.clock import now_ms
from appliance.errors import EXIT_OK, EXIT_UNAVAILABLE, Invalid, NotFound, Unavailable
from appliance.runtime.keyfile import FILE_NAME as KEY_NAME
from appliance.runtime.options import Options
from appliance.settings import FILE_NAME, example, models_directory
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.lock import sight
from models.catalogue import Kind
from models.store import Store

FAQ, LISTING, MODELS = "faq.jsonl", "models.json", "models/"
BESIDE = "settings.bundle.toml"
ASK_TIMEOUT_S = 300.0


class Carried(msgspec.Struct, frozen=True):
    """One model of the bundle; `member` is its place in the archive."""

    member: str
    name: str
    kind: Kind


def export(arguments: argparse.Namespace) -> int:
    """Writes the bundle. Raises NotFound when the FAQ is wanted and no appliance runs."""
    data = prepare_data_directory(Options(data=arguments.data).data_directory)
    store = Store(models_directory(settings_of(data)))
    faq = b""
    if not arguments.without_faq:
        with _appliance(data) as client:
            if client is None:
                raise NotFound(
                    f"no appliance runs on {data} that could be asked for its FAQ",
                    hint="start it first, or leave the FAQ out with --without-faq",
                )
            faq = _taken(client.get("/api/faq/export", params={"format": "jsonl"})).content
    with contextlib.ExitStack() as stack:
        sources = [Source(FILE_NAME, content=(data / FILE_NAME).read_bytes())]
        listing = []
        for one in store.listing():
            if one.state in ("present", "unverified"):
                path = store.checked(one.name)
                listing.append(Carried(MODELS + path.name, one.name, one.kind))
                stream = stack.enter_context(path.open("rb"))
                size = path.stat().st_size
                sources.append(Source(MODELS + path.name, stream, size, packed=False))
        sources.append(Source(LISTING, content=msgspec.json.encode(listing)))
        if faq:
            sources.append(Source(FAQ, content=faq))
        file = Path(arguments.file).expanduser()
        archive.write(file, sources, kind="bundle", layout=LAYOUT, now_ms=now_ms())
    _say(f"{file}: {len(listing)} models, settings{', FAQ' if faq else ''}")
    return EXIT_OK


def bring(arguments: argparse.Namespace) -> int:
    """Takes a bundle in. Raises Invalid before anything was changed when it is damaged."""
    data = prepare_data_directory(Options(data=arguments.data).data_directory)
    with archive.opened(Path(arguments.file).expanduser(), "bundle") as (opened, manifest):
        members = {one.name: one for one in manifest.members}
        if FILE_NAME in members:
            _say(_bring_settings(data, opened.read(FILE_NAME)))
        store = Store(models_directory(settings_of(data)))
        store.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in msgspec.json.decode(opened.read(LISTING), type=list[Carried]):
            if one.member not in members:
                raise Invalid(f"the bundle lists {one.name} and does not hold it")
            with _scratch(store.directory) as part:
                archive.copy(opened, members[one.member], part)
                made = store.import_file(part, kind=one.kind, name=one.name)
            _say(f"{made.name}: sha256 {made.sha256}")
        if FAQ not in members:
            return EXIT_OK
        with _appliance(data) as client:
            if client is None:
                _say("the FAQ needs a running appliance: start it and run this command again")
                return EXIT_UNAVAILABLE
            headers = {"Content-Type": "application/jsonl"}
            _taken(client.post("/api/faq/import", content=opened.read(FAQ), headers=headers))
            _say("the FAQ was imported")
    return EXIT_OK


def _bring_settings(data: Path, content: bytes) -> str:
    path = data / FILE_NAME
    if path.exists() and path.read_bytes() == content:
        return f"{path}: the same already"
    if path.exists() and path.read_text(encoding="utf-8") != example():
        (data / BESIDE).write_bytes(content)
        return f"{path} has settings of yours and stays; those of the bundle are in {BESIDE}"
    path.write_bytes(content)
    return f"{path}: taken from the bundle"


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    part = folder / ".bundle.gguf"
    part.unlink(missing_ok=True)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _appliance(data: Path) -> Iterator[httpx.Client | None]:
    """A client of the appliance that runs on the directory; None without one."""
    seen = sight(data)
    if seen.running is None or seen.state != "running":
        yield None
        return
    key = (data / KEY_NAME).read_text(encoding="ascii").strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=seen.running.url, headers=headers, timeout=ASK_TIMEOUT_S, trust_env=False
    ) as client:
        try:
            yield client
        except httpx.HTTPError as error:
            raise Unavailable(f"the appliance does not answer: {error}") from None


def _taken(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise Unavailable(f"the appliance refused: {answer.text[:300]}")
    return answer


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
