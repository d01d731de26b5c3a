"""The store and the catalogue: what counts as here, as whole, and as one of ours."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models_bench import Gguf, catalogue_of, entry_of, sha256, string_key, u32_key

from appliance.errors import Conflict, Invalid, NotFound, Unavailable
from models import files, record
from models.catalogue import valid_name
from models.store import Store

pytestmark = pytest.mark.unit

CHAT = Gguf().build()
OTHER = Gguf(weights=bytes(192)).build()
EMBEDDING = Gguf(
    keys=[string_key("general.architecture", "bert"), u32_key("bert.pooling_type", 1)]
).build()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Knows `tiny` (chat) and `vectors` (embedding); neither is here."""
    entries = entry_of(CHAT), entry_of(EMBEDDING, name="vectors", kind="embedding")
    return Store(tmp_path / "weights", catalogue_of(*entries))


def put(store: Store, name: str, content: bytes) -> Path:
    store.directory.mkdir(exist_ok=True)
    path = store.path(name)
    path.write_bytes(content)
    return path


def own(tmp_path: Path, content: bytes = OTHER, name: str = "My Model.gguf") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def states(store: Store) -> dict[str, str]:
    return {one.name: one.state for one in store.listing()}


def rewrite_unnoticed(path: Path) -> None:
    """Change the content but none of size, time and inode."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"XXXX")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_asking_an_empty_store_creates_nothing(store: Store) -> None:
    assert states(store) == {"tiny": "missing", "vectors": "missing"}
    with pytest.raises(NotFound) as caught:
        store.starter("chat")
    assert caught.value.hint == "run `sluice models pull`"
    assert not store.directory.exists()


def test_a_file_without_a_record_is_hashed_once_and_then_known(store: Store) -> None:
    path = put(store, "tiny", CHAT)
    assert states(store)["tiny"] == "unverified"
    assert store.starter("chat") == path
    assert states(store)["tiny"] == "present"
    assert stat.S_IMODE(record.beside(path).stat().st_mode) == 0o600


def test_an_unchanged_file_is_not_hashed_again_but_verify_hashes_it(store: Store) -> None:
    path = put(store, "tiny", CHAT)
    store.verify("tiny")
    rewrite_unnoticed(path)
    assert store.checked("tiny") == path
    with pytest.raises(Invalid, match="damaged"):
        store.verify("tiny")


def test_a_changed_file_is_hashed_again_and_stays_known_as_damaged(store: Store) -> None:
    path = put(store, "tiny", CHAT)
    store.verify("tiny")
    path.write_bytes(OTHER)
    assert states(store)["tiny"] == "unverified"
    for _ in range(2):
        with pytest.raises(Invalid, match="damaged") as caught:
            store.checked("tiny")
        assert caught.value.reason == "checksum"
        assert states(store)["tiny"] == "corrupt"
    path.write_bytes(CHAT)
    assert store.checked("tiny") == path
    assert states(store)["tiny"] == "present"


def test_a_file_of_another_size_is_corrupt_and_a_part_is_partial(store: Store) -> None:
    path = put(store, "tiny", CHAT[:-1])
    assert states(store)["tiny"] == "corrupt"
    path.unlink()
    files.part_of(path).write_bytes(CHAT[:100])
    listed = store.listing()[0]
    assert (listed.state, listed.here_bytes, listed.size_bytes) == ("partial", 100, len(CHAT))


def test_fetched_packages_count_as_partial(store: Store) -> None:
    store.directory.mkdir()
    staging = files.staging_of(store.path("tiny"))
    staging.mkdir()
    (staging / "a.whl").write_bytes(bytes(70))
    assert store.listing()[0].state == "partial"
    assert store.listing()[0].here_bytes == 70


def test_a_new_pin_makes_an_old_file_damaged(store: Store) -> None:
    put(store, "tiny", CHAT)
    store.verify("tiny")
    updated = entry_of(OTHER), *store.catalogue.entry[1:]
    newer = Store(store.directory, catalogue_of(*updated))
    with pytest.raises(Invalid, match="damaged"):
        newer.checked("tiny")


def test_a_record_that_cannot_be_read_counts_as_none(store: Store) -> None:
    path = put(store, "tiny", CHAT)
    for content in (b"", b"{", b'{"name": 3}', b"\xff" * 100, b"[" * 100_000):
        record.beside(path).write_bytes(content)
        assert states(store)["tiny"] == "unverified"
    assert store.checked("tiny") == path


def test_a_link_is_not_read_even_when_what_it_points_to_is_right(
    store: Store, tmp_path: Path
) -> None:
    store.directory.mkdir()
    store.path("tiny").symlink_to(own(tmp_path, CHAT))
    for ask in (store.checked, store.verify, store.find):
        with pytest.raises(Invalid, match="link"):
            ask("tiny")
    assert states(store)["tiny"] == "corrupt"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../tiny", "/etc/passwd", "tiny/..", "Tiny", ".hidden", "a\0b", "a" * 101],
)
def test_a_name_never_leaves_the_directory(store: Store, tmp_path: Path, name: str) -> None:
    own(tmp_path, name="tiny.gguf")
    assert not valid_name(name)
    with pytest.raises(NotFound):
        store.path(name)


@given(st.text(max_size=120))
def test_a_valid_name_is_one_plain_file_name(name: str) -> None:
    if valid_name(name):
        assert Path("weights", name).parts == ("weights", name)
        assert name.isascii()
        assert name == name.lower()


def test_weights_are_found_by_role_name_and_path(store: Store, tmp_path: Path) -> None:
    chat, vectors = put(store, "tiny", CHAT), put(store, "vectors", EMBEDDING)
    assert store.find("chat") == store.find("test-chat") == store.find("tiny") == chat
    assert store.find("embedding") == vectors
    assert store.find(str(chat)) == chat
    outside = own(tmp_path)
    assert store.find(str(outside)) == outside
    with pytest.raises(NotFound, match="'nothing'"):
        store.find("nothing")
    with pytest.raises(NotFound):
        store.find(str(tmp_path / "none.gguf"))
    with pytest.raises(NotFound, match="role"):
        store.starter("judge")
    with pytest.raises(NotFound, match="'chat'"):
        store.path("chat")


def test_a_path_into_the_store_is_held_to_its_checksum(store: Store) -> None:
    path = put(store, "tiny", OTHER)
    with pytest.raises(Invalid, match="damaged"):
        store.find(str(path))


def test_a_path_elsewhere_must_pass_the_precheck(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="GGUF"):
        store.find(str(own(tmp_path, b"not weights")))


def test_an_imported_file_is_copied_named_and_known(store: Store, tmp_path: Path) -> None:
    source = own(tmp_path)
    found = store.import_file(source)
    assert (found.name, found.kind, found.sha256) == ("my-model", "chat", sha256(OTHER))
    path = store.find("my-model")
    assert path.read_bytes() == OTHER
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert path.stat().st_ino != source.stat().st_ino
    assert states(store) == {"tiny": "missing", "vectors": "missing", "my-model": "present"}


def test_an_imported_file_that_changes_is_refused(store: Store, tmp_path: Path) -> None:
    store.import_file(own(tmp_path))
    store.path("my-model").write_bytes(CHAT)
    with pytest.raises(Invalid, match="damaged"):
        store.find("my-model")
    store.path("my-model").unlink()
    with pytest.raises(NotFound):
        store.find("my-model")
    assert states(store)["my-model"] == "missing"
    store.import_file(own(tmp_path))
    assert store.find("my-model").read_bytes() == OTHER


def test_an_imported_file_of_the_catalogue_becomes_its_entry(store: Store, tmp_path: Path) -> None:
    found = store.import_file(own(tmp_path, EMBEDDING), name="whatever")
    assert (found.name, found.kind) == ("vectors", "embedding")
    assert store.starter("embedding").name == "vectors.gguf"
    assert len(store.listing()) == 2


def test_the_kind_is_read_from_the_file_unless_it_is_given(store: Store, tmp_path: Path) -> None:
    pooling = Gguf(
        keys=[string_key("general.architecture", "bert"), u32_key("bert.pooling_type", 2)]
    ).build()
    assert store.import_file(own(tmp_path, pooling)).kind == "embedding"
    assert store.import_file(own(tmp_path, pooling), name="b", kind="chat").kind == "chat"


def test_an_import_never_replaces_other_weights(store: Store, tmp_path: Path) -> None:
    store.import_file(own(tmp_path))
    store.import_file(own(tmp_path))
    another = own(tmp_path, Gguf(weights=b"\1" * 192).build())
    for name in ("my-model", "tiny", "vectors", "chat", "test-chat"):
        with pytest.raises(Conflict, match="taken"):
            store.import_file(another, name=name)
    assert store.find("my-model").read_bytes() == OTHER
    assert store.import_file(another, name="second").name == "second"


@pytest.mark.parametrize("name", ["../up", "a/b", "Big", "x.gguf", ".dot"])
def test_an_import_under_a_bad_name_is_invalid(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="name"):
        store.import_file(own(tmp_path), name=name)


def test_a_file_name_of_strange_letters_gives_a_plain_name(store: Store, tmp_path: Path) -> None:
    assert store.import_file(own(tmp_path, name="..模型 (1).gguf")).name == "1-"
    assert store.import_file(own(tmp_path, name="模型.gguf"), name="second").name == "second"
    assert store.import_file(own(tmp_path, name="。.gguf")).name == "imported"


def test_an_unsound_file_leaves_no_trace_in_the_store(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="GGUF"):
        store.import_file(own(tmp_path, OTHER[:-1]))
    assert not store.directory.exists()


def test_an_import_reads_through_a_link_and_copies_the_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link.gguf").symlink_to(own(tmp_path))
    store.import_file(tmp_path / "link.gguf")
    path = store.find("my-model")
    assert not path.is_symlink()
    assert path.read_bytes() == OTHER


def test_an_import_without_room_is_told_and_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(Unavailable, match="are free"):
        store.import_file(own(tmp_path))
    assert not list(store.directory.glob("*.gguf*"))
    assert not (store.directory / ".import.part").exists()


def test_a_directory_that_anybody_may_write_to_is_refused(store: Store, tmp_path: Path) -> None:
    store.directory.mkdir()
    store.directory.chmod(0o777)
    with pytest.raises(Invalid, match="Anybody"):
        store.import_file(own(tmp_path))
