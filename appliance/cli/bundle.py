"""`sluice bundle`: models, settings and FAQ in one verified file, for machines without a network.

What is here already stays: weights of the same checksum are not copied again, settings that a
person changed are not replaced, what they say of files of the other machine is left out (see
`portable`), and FAQ entries come in by the import that everybody uses. So an
import can be repeated, and is, for the FAQ needs a running appliance on either side.
"""

import argparse
import contextlib
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from appliance.backup import archive
from appliance.backup.archive import Member, Source
from appliance.backup.layout import LAYOUT, newer, settings_of
from appliance.cli.portable import is_path, portable
from appliance.clock import now_ms
from appliance.errors import (
    EXIT_OK,
    EXIT_UNAVAILABLE,
    Conflict,
    Invalid,
    NotFound,
    Unavailable,
)
from appliance.runtime.keyfile import FILE_NAME as KEY_NAME
from appliance.runtime.options import Options
from appliance.schema.problems import ErrorBody
from appliance.settings import FILE_NAME, Settings, example, models_directory
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.lock import sight
from models.catalogue import Kind
from models.store import Store

FAQ, LISTING, MODELS = "faq.jsonl", "models.json", "models/"
BESIDE = "settings.bundle.toml"
ASK_TIMEOUT_S = 300.0


class Carried(msgspec.Struct, frozen=True):
    """One model of the bundle; `member` is its place in the archive.

    `named` is how the settings name it where that is by its file, which the other machine's store
    will call by a name.
    """

    member: str
    name: str
    kind: Kind
    named: str = ""


@dataclass(frozen=True)
class Taken:
    """A model to be written into a bundle, and where it lies."""

    carried: Carried
    path: Path


def export(arguments: argparse.Namespace) -> int:
    """Writes the bundle. Raises NotFound when the FAQ is wanted and no appliance runs."""
    data = prepare_data_directory(Options(data=arguments.data).data_directory)
    settings = settings_of(data)
    faq = b""
    if not arguments.without_faq:
        with _appliance(data) as client:
            if client is None:
                raise NotFound(
                    f"no appliance runs on {data} that could be asked for its FAQ",
                    hint="start it first, or leave the FAQ out with --without-faq",
                )
            faq = _taken(client.get("/api/faq/export", params={"format": "jsonl"})).content
    models = [*_of_store(Store(models_directory(settings))), *_by_path(settings)]
    with contextlib.ExitStack() as stack:
        sources = [Source(FILE_NAME, content=(data / FILE_NAME).read_bytes())]
        for one in models:
            stream = stack.enter_context(one.path.open("rb"))
            size = one.path.stat().st_size
            sources.append(Source(one.carried.member, stream, size, packed=False))
        listing = [one.carried for one in models]
        sources.append(Source(LISTING, content=msgspec.json.encode(listing)))
        if faq:
            sources.append(Source(FAQ, content=faq))
        file = Path(arguments.file).expanduser()
        archive.write(file, sources, kind="bundle", layout=LAYOUT, now_ms=now_ms())
    _say(f"{file}: {len(listing)} models, settings{', FAQ' if faq else ''}")
    left = [one.path for one in settings.models.lora] + [settings.limiter.rule_file]
    for path in filter(None, left):
        _say(f"not in it: {path}, to be brought along and named in the settings there")
    return EXIT_OK


def bring(arguments: argparse.Namespace) -> int:
    """Takes a bundle in: models, then settings, then the FAQ.

    Raises Invalid before anything was changed when it is damaged or its settings are unsound.
    """
    data = prepare_data_directory(Options(data=arguments.data).data_directory)
    file = Path(arguments.file).expanduser()
    with archive.opened(file, "bundle") as (opened, manifest):
        if manifest.layout > LAYOUT:
            raise newer(file, manifest.layout, manifest.version)
        members = {one.name: one for one in manifest.members}
        models = _listed(opened, members)
        text = opened.read(FILE_NAME).decode("utf-8", "replace") if FILE_NAME in members else ""
        portable(text, {one.named: one.name for one in models})
        store = Store(models_directory(settings_of(data)))
        store.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        names: dict[str, str] = {}
        for one in models:
            with _scratch(store.directory) as folder:
                part = folder / Path(one.member).name
                archive.copy(opened, members[one.member], part)
                made = store.import_file(part, kind=one.kind, name="" if one.named else one.name)
            names[one.named] = made.name
            _say(f"{made.name}: sha256 {made.sha256}")
        if text:
            _say(_bring_settings(data, portable(text, names).encode()))
        if FAQ not in members:
            return EXIT_OK
        with _appliance(data) as client:
            if client is None:
                _say("the FAQ needs a running appliance: start it and run this command again")
                return EXIT_UNAVAILABLE
            answer = client.post(
                "/api/faq/import",
                params={"overwrite": arguments.overwrite},
                content=opened.read(FAQ),
                headers={"Content-Type": "application/jsonl"},
            )
            _taken(answer)
            _say("the FAQ was imported")
    return EXIT_OK


def _of_store(store: Store) -> Iterator[Taken]:
    for one in store.listing():
        if one.state in ("present", "unverified"):
            path = store.checked(one.name)
            yield Taken(Carried(MODELS + path.name, one.name, one.kind), path)


def _by_path(settings: Settings) -> Iterator[Taken]:
    """The models that the settings name by their files. Raises NotFound for one that is away."""
    wanted: list[tuple[str, Kind]] = [(settings.models.chat, "chat")]
    wanted += [(settings.models.embedding, "embedding")]
    wanted += [(named, "chat") for named in settings.models.more]
    for number, (named, kind) in enumerate(wanted):
        if not is_path(named):
            continue
        path = Path(named).expanduser()
        if not path.is_file():
            raise NotFound(f"there is no model at {named}", hint="mend the settings first")
        yield Taken(Carried(f"{MODELS}{number}/{path.name}", path.stem, kind, named), path)


def _listed(opened: zipfile.ZipFile, members: Mapping[str, Member]) -> list[Carried]:
    if LISTING not in members:
        raise Invalid(
            f"the bundle has no {LISTING}",
            hint="make it with `sluice bundle export`",
            reason="no_archive",
            facts={"path": opened.filename},
        )
    try:
        models = msgspec.json.decode(opened.read(LISTING), type=list[Carried])
    except msgspec.MsgspecError as error:
        raise Invalid(
            f"the bundle's {LISTING}: {error}",
            hint="use another copy",
            reason="damaged_archive",
            facts={"path": opened.filename},
        ) from None
    for one in models:
        if one.member not in members:
            raise Invalid(
                f"the bundle lists {one.name} and does not hold it",
                reason="damaged_archive",
                facts={"path": opened.filename},
            )
    return models


def _bring_settings(data: Path, content: bytes) -> str:
    path = data / FILE_NAME
    if path.exists() and path.read_bytes() == content:
        return f"{path}: the same already"
    if path.exists() and path.read_text(encoding="utf-8") != example():
        (data / BESIDE).write_bytes(content)
        return f"{path} has settings of yours and stays; those of the bundle are in {BESIDE}"
    path.write_bytes(content)
    runs = sight(data).state == "running"
    return f"{path}: taken from the bundle{', restart to apply them' if runs else ''}"


@contextlib.contextmanager
def _scratch(store: Path) -> Iterator[Path]:
    folder = store / ".bundle"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
            raise Unavailable(
                f"the appliance does not answer: {error}", reason="appliance_silent"
            ) from None


def _taken(answer: httpx.Response) -> httpx.Response:
    """Raises Conflict for entries that were edited since, Unavailable for what else is refused."""
    if not answer.is_error:
        return answer
    try:
        told = msgspec.json.decode(answer.content, type=ErrorBody).error
    except msgspec.MsgspecError:
        raise Unavailable(f"the appliance refused: {answer.text[:300]}") from None
    if told.reason == "edited_since":
        hint = "the FAQ here was edited since; with --overwrite the bundle goes before it"
        raise Conflict(told.message, hint=hint, reason=told.reason)
    raise Unavailable(f"the appliance refused: {told.message}", hint=told.hint, reason=told.reason)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
