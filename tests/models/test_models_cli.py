"""What a person sees of `sluice models`, and what a script gets back."""

import argparse
import io
from pathlib import Path

import pytest
from models_bench import FileServer, Gguf, catalogue_of, entry_of, serving, sha256
from rich.console import Console

from appliance.errors import EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE
from models.arguments import add_arguments
from models.catalogue import Catalogue, FromHttps
from models.cli import progress_on, run

pytestmark = pytest.mark.integration

CHAT = Gguf().build()
CATALOGUE = catalogue_of(
    entry_of(CHAT, FromHttps("https://weights.invalid/tiny.gguf")),
    entry_of(CHAT[:-1] + b"?", name="vectors", kind="embedding"),
)


def sluice(directory: Path, *words: str, catalogue: Catalogue = CATALOGUE, mirror: str = "") -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words), directory, mirror=mirror, catalogue=catalogue)


def test_the_list_shows_every_entry_with_its_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.gguf").write_bytes(CHAT)
    assert sluice(tmp_path, "list") == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "SIZE", "LICENCE", "CONTEXT", "STATE"]
    assert lines[1].split() == ["tiny", "chat", "0", "MB", "MIT", "128", "unverified"]
    assert lines[2].split() == ["vectors", "embedding", "0", "MB", "MIT", "128", "missing"]
    assert lines[-1].split(maxsplit=1) == ["vectors", "For a test."]


def test_the_shipped_list_loses_nothing_in_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(["list"]), tmp_path / "none") == EXIT_OK
    out = capsys.readouterr().out
    assert "qwen2.5-coder-0.5b-instruct-q4_k_m" in out
    assert "Gemma terms" in out
    assert "…" not in out
    assert not (tmp_path / "none").exists()


def test_a_pull_tells_progress_on_stderr_and_the_path_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(FileServer(CHAT)) as server:
        assert sluice(tmp_path / "new", "pull", "chat", mirror=server.url) == EXIT_OK
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'new' / 'tiny.gguf'}\n"
    assert err.splitlines()[0] == "tiny: 0 MB of 0 MB (0 %)"
    assert err.splitlines()[-1] == "tiny: 0 MB of 0 MB (100 %)"


def test_one_failure_does_not_stop_the_other_pulls_but_decides_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(FileServer(CHAT)) as server:
        status = sluice(tmp_path, "pull", "vectors", "none", "tiny", "--mirror", server.url)
    out, err = capsys.readouterr()
    assert status == EXIT_UNAVAILABLE
    assert out == f"{tmp_path / 'tiny.gguf'}\n"
    assert "checksum" in err
    assert "No weights are called 'none'.\n  `sluice models list` shows the names" in err


def test_a_pull_without_names_means_both_starters(tmp_path: Path) -> None:
    catalogue = catalogue_of(
        entry_of(CHAT, FromHttps("https://weights.invalid/a")),
        entry_of(CHAT, FromHttps("https://weights.invalid/b"), name="vectors", kind="embedding"),
    )
    with serving(FileServer(CHAT)) as server:
        words = ("pull", "--mirror", server.url)
        assert sluice(tmp_path, *words, catalogue=catalogue) == EXIT_OK
        assert server.paths == ["/a", "/b"]


def test_verify_checks_what_is_here_and_names_the_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.gguf").write_bytes(CHAT)
    assert sluice(tmp_path, "verify") == EXIT_OK
    assert capsys.readouterr().out == f"tiny: whole, sha256 {sha256(CHAT)}\n"
    (tmp_path / "tiny.gguf").write_bytes(CHAT[:-1] + b"!")
    assert sluice(tmp_path, "verify", "chat") == EXIT_USAGE
    assert "is damaged" in capsys.readouterr().err
    assert sluice(tmp_path, "verify", "vectors") == EXIT_USAGE


def test_an_import_tells_how_to_use_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Mine.gguf").write_bytes(Gguf(weights=bytes(192)).build())
    words = ("import", str(tmp_path / "Mine.gguf"), "--kind", "embedding")
    assert sluice(tmp_path / "weights", *words) == EXIT_OK
    assert 'embedding = "mine"' in capsys.readouterr().out
    assert sluice(tmp_path / "weights", "list") == EXIT_OK
    assert "mine" in capsys.readouterr().out
    (tmp_path / "bad.gguf").write_bytes(b"no")
    assert sluice(tmp_path / "weights", "import", str(tmp_path / "bad.gguf")) == EXIT_USAGE
    assert "not a sound GGUF" in capsys.readouterr().err


def test_a_directory_that_cannot_be_made_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with serving(FileServer(CHAT)) as server:
        status = sluice(tmp_path / "file" / "weights", "pull", "tiny", mirror=server.url)
    assert status == EXIT_UNAVAILABLE
    assert "Not a directory" in capsys.readouterr().err


def test_without_a_terminal_a_line_is_told_every_five_seconds() -> None:
    written = io.StringIO()
    now = iter([0.0, 1.0, 4.9, 5.0, 6.0, 10.0, 10.5])
    with progress_on(Console(file=written, width=80), clock=lambda: next(now)) as report:
        for done in (0, 10, 20, 30, 40, 50, 100):
            report("tiny", done * 1_000_000, 100_000_000)
    told = [line.partition(": ")[2] for line in written.getvalue().splitlines()]
    assert told == [f"{done} MB of 100 MB ({done} %)" for done in (0, 30, 50, 100)]


def test_on_a_terminal_a_bar_shows_the_name_as_it_is() -> None:
    written = io.StringIO()
    with progress_on(Console(file=written, width=100, force_terminal=True)) as report:
        report("[red]tiny", 5_000_000, 10_000_000)
        report("[red]tiny", 10_000_000, 10_000_000)
    assert "[red]tiny" in written.getvalue()
    assert "10.0/10.0 MB" in written.getvalue()
