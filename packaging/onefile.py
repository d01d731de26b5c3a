"""Puts a tree of files behind the launcher: one executable file that is a ZIP archive as well.

The launcher (`launcher/launcher.c`) unpacks `tree/` once per version; `models/` stays in the file
until the product itself takes weights out of it. The archive's comment is what the launcher reads
at every start: a hash of the tree, the version and the unpacked size, padded to a fixed length.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = (HERE / "launcher/launcher.c", HERE / "launcher/inflate.c")
COMMENT_BYTES = 96
TREE, MODELS = "tree/", "models/"
LEVEL = 6  # 9 takes four times as long for a hundredth less


def compile_launcher(target: Path, compiler: str = "cc") -> bool:
    """A static program where the system has a static libc, so that it runs on any Linux.

    True when it is.
    """
    command = [compiler, "-Os", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-o", str(target)]
    command += [str(one) for one in SOURCES]
    done = subprocess.run([*command, "-static"], capture_output=True, text=True)
    is_static = done.returncode == 0
    if not is_static:
        print("no static libc here: the launcher needs the libc of this system", flush=True)
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the launcher cannot be compiled:\n{done.stderr}")
    subprocess.run(["strip", str(target)], check=True)
    return is_static


def wrap(
    launcher: Path, tree: Path, target: Path, *, version: str, weights: Iterable[Path] = ()
) -> None:
    """Writes the executable file `target`: launcher, compressed tree, weights as they are."""
    files = sorted(_files(tree), key=lambda one: one.relative_to(tree).as_posix())
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(launcher, beside)
    try:
        with zipfile.ZipFile(
            beside, "a", zipfile.ZIP_DEFLATED, allowZip64=False, compresslevel=LEVEL
        ) as archive:
            for path in files:
                archive.writestr(
                    _member(path, TREE + path.relative_to(tree).as_posix()), _content(path)
                )
            for path in weights:
                _store(archive, path)
            archive.comment = comment(tree, files, version)
        beside.chmod(0o755)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def comment(tree: Path, files: Iterable[Path], version: str) -> bytes:
    """What identifies this tree; equal trees have equal ones, whenever they were built."""
    digest, unpacked_bytes = hashlib.sha256(), 0
    for path in files:
        content = _content(path)
        unpacked_bytes += len(content)
        name = path.relative_to(tree).as_posix()
        digest.update(f"{_mode(path):o} {len(content)} {name}\0".encode())
        digest.update(content)
    said = f"sluice-file 1 {digest.hexdigest()[:32]} {version} {unpacked_bytes} "
    assert len(said) <= COMMENT_BYTES, said
    return said.encode().ljust(COMMENT_BYTES)


def _files(tree: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        links = [one for one in folders if Path(folder, one).is_symlink()]
        yield from (Path(folder, name) for name in [*names, *links])


def _mode(path: Path) -> int:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return stat.S_IFLNK | 0o777
    return stat.S_IFREG | (0o755 if mode & 0o100 else 0o644)


def _content(path: Path) -> bytes:
    return os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()


def _member(path: Path, name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)  # dated 1980, so equal trees give equal files
    member.create_system = 3  # Unix, where the upper half of the attributes is the mode
    member.external_attr = _mode(path) << 16
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def _store(archive: zipfile.ZipFile, path: Path) -> None:
    """Quantised weights do not compress: they are stored, and can be read in place."""
    member = _member(path, MODELS + path.name)
    member.compress_type = zipfile.ZIP_STORED
    member.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(member, "w") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
