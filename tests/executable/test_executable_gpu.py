"""What precedes the executable: a Vulkan backend where it can be built, plain words elsewhere."""

from pathlib import Path

import gpu
import llama
import pytest

pytestmark = pytest.mark.unit


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is cached and nothing is built; what would have been is noted."""
    asked: list[str] = []
    monkeypatch.setattr(gpu, "LIBRARIES", tmp_path)
    monkeypatch.setattr(gpu, "install", asked.append)
    return asked


def test_vulkan_is_built_for_the_executable_where_its_tools_are(
    installed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "VULKAN_TOOLS", {"glslc": tmp_path})
    monkeypatch.setattr(gpu, "_loader", lambda: tmp_path)
    gpu.install_for_dist()
    assert (installed, gpu.ready_for_dist()) == (["vulkan"], True)


def test_what_is_missing_for_vulkan_is_said_and_the_build_goes_on(
    installed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(gpu, "VULKAN_TOOLS", {"glslc": tmp_path / "nothing"})
    monkeypatch.setattr(gpu, "_loader", lambda: None)
    gpu.install_for_dist()
    assert (installed, gpu.ready_for_dist()) == ([], False)
    said = capsys.readouterr().out
    assert "no Vulkan backend, for want of glslc, libvulkan1" in said
    assert "make vulkan" in said


def test_a_cached_backend_needs_no_tools(
    installed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "VULKAN_TOOLS", {"glslc": tmp_path / "nothing"})
    made = gpu._cached("vulkan")
    made.parent.mkdir(parents=True)
    made.touch()
    gpu.install_for_dist()
    assert installed == ["vulkan"]


def test_a_backend_of_other_patches_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, added = tmp_path / "one.patch", tmp_path / "added.cpp"
    patch.write_text("one")
    added.write_text("one")
    monkeypatch.setattr(llama, "PATCHES", [patch])
    monkeypatch.setattr(llama, "ADDED", [added])
    kept = {gpu._cached("vulkan")}
    for changed in (patch, added):
        changed.write_text("two")
        kept.add(gpu._cached("vulkan"))
    assert len(kept) == 3
    assert gpu._cached("vulkan") in kept
