"""What the build says of parts: no text, no executable."""

import json
import platform
import subprocess
from pathlib import Path

import dist
import licences
import pytest
import sbom
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


def test_the_bill_of_materials_has_every_part_and_nothing_else(
    collected: Path, tmp_path: Path
) -> None:
    weights = dist.weight_parts()
    parts = licences.gather(collected, tmp_path / "licences", weights)
    bill = json.loads(sbom.document(parts))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    described = bill["metadata"]["component"]
    assert (described["type"], described["name"]) == ("application", "sluice")
    listed = {(one["name"], one.get("version", "")) for one in [described, *bill["components"]]}
    assert listed == {(one.name, one.version) for one in parts}
    assert len(bill["components"]) == len(parts) - 1
    by_name = {one["name"]: one for one in bill["components"]}
    engine = by_name["llama_cpp_python (llama.cpp)"]
    assert engine["purl"] == f"pkg:pypi/llama-cpp-python@{engine['version']}"
    assert engine["licenses"] == [{"license": {"name": "MIT"}}]
    kinds = {by_name[one.name]["type"] for one in weights}
    assert kinds == {"machine-learning-model"}


def test_the_checksum_is_one_that_is_checked_by_the_usual_program(tmp_path: Path) -> None:
    file = tmp_path / "sluice"
    file.write_bytes(b"the executable")
    file.with_suffix(".sha256").write_text(dist.checksum(file))
    command = ["sha256sum", "--check", "sluice.sha256"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


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
