"""The oldest glibc that a tree of programs and libraries runs on.

Every object names the versions of the symbols it needs; the highest one is the floor. Read with
objdump, which comes with the compiler.
"""

import re
import subprocess
from pathlib import Path

NEEDED = re.compile(r"\bGLIBC_(\d+(?:\.\d+)+)\b")
ELF = b"\x7fELF"


def objects(tree: Path) -> list[Path]:
    """All ELF files of the tree, each once."""
    found = []
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(4) == ELF:
                found.append(path)
    return found


def floor(tree: Path) -> dict[str, list[str]]:
    """Which objects need the highest version, by that version; empty without objects."""
    needs: dict[tuple[int, ...], list[str]] = {}
    for path in objects(tree):
        said = subprocess.run(
            ["objdump", "-p", str(path)], capture_output=True, text=True, check=True
        )
        versions = [tuple(map(int, one.split("."))) for one in NEEDED.findall(said.stdout)]
        if versions:
            needs.setdefault(max(versions), []).append(path.relative_to(tree).as_posix())
    if not needs:
        return {}
    highest = max(needs)
    return {".".join(map(str, highest)): needs[highest]}
