"""The command line, as far as it can be told without starting anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli.main import build_parser, main
from appliance.errors import EXIT_CANNOT_BOOT, EXIT_INTERNAL, EXIT_OK, EXIT_USAGE
from appliance.worker.config import WorkerConfig

pytestmark = pytest.mark.unit

PATIENCE_S = 60.0


@pytest.mark.parametrize(
    "line",
    [
        ["--data", "d", "--port", "0", "--engine", "fake", "serve"],
        ["serve", "--data", "d", "--port", "0", "--engine", "fake"],
        ["--data", "d", "serve", "--port", "0", "--engine", "fake"],
        ["--data", "d", "--port", "0", "--engine", "fake"],
    ],
)
def test_options_count_before_and_after_the_command(line: list[str]) -> None:
    arguments = build_parser().parse_args(line)
    assert (arguments.data, arguments.port, arguments.engine) == (Path("d"), 0, "fake")
    assert arguments.host is arguments.model is None


@pytest.mark.parametrize("command", ["tui", "doctor"])
def test_every_command_takes_the_data_directory(command: str) -> None:
    assert build_parser().parse_args([command, "--data", "d"]).data == Path("d")


@pytest.mark.parametrize(
    "line",
    [["serve", "--port", "70000"], ["serve", "--port", "x"], ["serve", "--engine", "x"], ["huh"]],
)
def test_wrong_usage_is_said_and_has_its_exit_status(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == EXIT_USAGE
    assert "usage" in capsys.readouterr().err


def test_the_ui_without_a_terminal_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path)]) != 0
    assert "sluice serve" in capsys.readouterr().err


def test_a_window_stays_until_the_words_about_a_crash_of_the_ui_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    monkeypatch.setattr("appliance.cli.attach.has_terminal", lambda: True)
    monkeypatch.setattr("appliance.cli.attach.open_ui", lambda options: EXIT_INTERNAL)
    monkeypatch.setattr("appliance.cli.desktop.hold_window", held.append)
    assert main(["--data", str(tmp_path)]) == EXIT_INTERNAL
    assert held == [EXIT_INTERNAL]


@pytest.mark.parametrize("command", [["serve"], ["models", "list"], ["limiter", "--redis", "x"]])
def test_data_of_a_later_version_are_told_as_such(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "layout.json").write_text('{"layout": 99, "version": "9.9.9"}')
    (tmp_path / "settings.toml").write_text("[ui]\nshiny = true\n")
    assert main(["--data", str(tmp_path), *command]) == EXIT_CANNOT_BOOT
    said = capsys.readouterr().err
    assert "written by Sluice 9.9.9" in said
    assert "shiny" not in said


@pytest.mark.parametrize(
    ("given", "served"),
    [([], "redis://of:the-settings@h"), (["--redis", "redis://given"], "redis://given")],
)
def test_a_worker_serves_the_store_of_the_settings_unless_another_is_given(
    given: list[str], served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[external]\nredis_url = "redis://of:the-settings@h"\n'
    (tmp_path / "settings.toml").write_text(text)
    begun: list[str] = []

    def begin(config: WorkerConfig) -> int:
        begun.append(config.redis_url)
        return EXIT_OK

    monkeypatch.setattr("appliance.worker.main.main", begin)
    assert main(["worker", "--engine", "fake", "--data", str(tmp_path), *given]) == EXIT_OK
    assert begun == [served]


def test_a_limiter_without_any_store_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["limiter", "--data", str(tmp_path)]) == EXIT_USAGE
    assert "external.redis_url" in capsys.readouterr().err


def test_a_worker_listens_nowhere_and_takes_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["worker", "--redis", "unix:///x", "--data", "d", "--engine", "fake"]
    assert build_parser().parse_args(line).engine == "fake"
    with pytest.raises(SystemExit):
        main([*line, "--port", "0"])
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (["--help"], EXIT_OK, "--redis"),
        ([], EXIT_USAGE, "--redis"),
        (["--redis=redis://127.0.0.1:1", "--engine", "x"], EXIT_USAGE, "--engine"),
    ],
)
def test_a_worker_started_by_hand_does_not_wait_for_a_supervisor(
    line: list[str], status: int, said: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "appliance", "worker", "--data", str(tmp_path), *line]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # open, as that of a shell is
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.wait(PATIENCE_S) == status
        finally:
            process.kill()
        assert process.stdout is not None
        assert said in process.stdout.read()
