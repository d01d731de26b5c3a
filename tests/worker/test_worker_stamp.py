"""What saved cells depend on changes their stamp."""

from pathlib import Path

import pytest

from appliance.schema.sampling import Adapter
from appliance.worker import stamp
from appliance.worker.llama import LlamaOptions, cells_stamp
from appliance.worker.llama_library import backend_directory, load_library
from appliance.worker.stamp import files_stamp, loaded_from

pytestmark = pytest.mark.unit


def test_cells_of_another_library_cache_or_device_are_not_taken(tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(b"weights")

    def of(
        library: str = "x", *, on_gpu: bool = False, cache: int = 4096, scale: float = 1.0
    ) -> str:
        options = LlamaOptions(
            chat_model=weights,
            embedding_model=None,
            adapters=(Adapter(path=str(weights), scale=scale),),
            threads=1,
            layers=1,
        )
        return cells_stamp(options, library, on_gpu=on_gpu, cache_tokens=cache)

    others = {of("y"), of(on_gpu=True), of(cache=8192), of(scale=0.5)}
    assert of() == of()
    assert len(others | {of()}) == 5
    before = of()
    weights.write_bytes(b"Weights")
    assert of() != before


def test_a_library_is_told_by_what_is_in_its_files(tmp_path: Path) -> None:
    files = [tmp_path / "libllama.so", tmp_path / "libggml-cpu-x64.so"]
    for path in files:
        path.write_bytes(b"code")
    before = files_stamp(files)
    files[1].touch()
    assert files_stamp(reversed(files)) == before, "the same code, installed again"
    files[1].write_bytes(b"code, patched")
    assert files_stamp(files) != before


def test_only_loaded_libraries_count_where_the_system_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, unused = tmp_path / "libggml-cpu-zen4.so", tmp_path / "libggml-cpu-x64.so"
    for path in (used, unused):
        path.touch()
    maps = tmp_path / "maps"
    maps.write_text(
        "7f0000000000-7f0000001000 r--p 00000000 08:01 42 \n"
        f"7f0000001000-7f0000002000 r-xp 00000000 08:01 43     {used}\n"
    )
    monkeypatch.setattr(stamp, "MAPS", maps)
    assert loaded_from(tmp_path) == {used}
    monkeypatch.setattr(stamp, "MAPS", tmp_path / "nothing")
    assert loaded_from(tmp_path) == {used, unused}


def test_the_stamp_covers_the_library_and_the_kernels_of_this_cpu() -> None:
    library = load_library()
    names = [path.name.partition(".")[0] for path in loaded_from(backend_directory())]
    assert {"libllama", "libggml-base"} <= set(names)
    assert sum(name.startswith("libggml-cpu") for name in names) == 1
    assert library.stamp(on_gpu=False) == library.stamp(on_gpu=False)
