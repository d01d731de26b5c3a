"""What the build says of parts: no text, no executable."""

import json
import platform
from pathlib import Path

import licences
import pytest
from conftest import ROOT

pytestmark = pytest.mark.unit


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """A build into which the inference library was collected, and nothing else."""
    import importlib.util

    found = importlib.util.find_spec("llama_cpp")
    assert found is not None
    path = tmp_path / "collected.json"
    path.write_text(json.dumps([["llama_cpp/__init__.py", found.origin]]))
    return path


def test_what_travels_inside_a_distribution_has_its_own_text(
    collected: Path, tmp_path: Path
) -> None:
    parts = licences.gather(collected, tmp_path / "licences", [])
    assert "llama_cpp_python (llama.cpp)" in [one.name for one in parts]
    text = tmp_path / "licences/llama_cpp_python (llama.cpp)/llama_cpp_python.txt"
    assert "The ggml authors" in text.read_text()


def test_the_text_of_the_distribution_around_it_is_not_enough(
    collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licences, "OWN_TEXTS", tmp_path)
    with pytest.raises(SystemExit, match=r"llama\.cpp"):
        licences.gather(collected, tmp_path / "licences", [])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_launcher_with_the_c_library_inside_brings_its_licence() -> None:
    (part,) = licences.launcher_parts(is_static=True)
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in part.texts["glibc.txt"].read_text()
    assert (ROOT / "packaging/licences/glibc.txt").is_file()
    assert licences.launcher_parts(is_static=False) == []
