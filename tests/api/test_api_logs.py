"""Log lines: what they quote tells no terminal anything, and their files have a bound."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.runtime.logs import DIRECTORY, FILE_NAME, JsonLines, PlainLines, set_up
from appliance.settings.server import Log

pytestmark = pytest.mark.unit

HOSTILE = "a\x1b[2Jb\x9b1mc\u202ed\x7fe\ud800f\U000e0041g\r\nh"


def failed_with(text: str) -> logging.LogRecord:
    """The record of a defect whose message and traceback both quote a text."""
    try:
        raise ValueError(text)
    except ValueError:
        return logging.LogRecord("sluice", logging.ERROR, "", 0, "%s", (text,), sys.exc_info())


def test_neither_a_message_nor_a_traceback_moves_a_terminal() -> None:
    shown = PlainLines().format(failed_with(HOSTILE))
    lines = shown.split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines[0].endswith("sluice: a\\x1b[2Jb\\x9b1mc\\u202ed\\x7fe\\ud800f\\U000e0041g\\r\\nh")
    assert lines[1].startswith("Traceback"), "a traceback keeps its lines"
    assert "ValueError: a\\x1b[2J" in shown


def test_a_line_of_the_file_is_printable_and_says_what_was_said() -> None:
    line = JsonLines().format(failed_with(HOSTILE))
    assert line.isprintable()
    said = json.loads(line)
    assert said["message"] == HOSTILE
    assert said["traceback"].endswith(f"ValueError: {HOSTILE}")
    assert "面粉" in JsonLines().format(failed_with("面粉")), "words stay words"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    for handler in set(logger.handlers) - set(handlers):
        handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_a_log_rotates_at_its_size_and_so_many_are_kept(
    root: logging.Logger, tmp_path: Path
) -> None:
    set_up(tmp_path, Log(file_bytes=10_000, files_kept=2))
    for number in range(400):
        root.info("line %d", number)
    files = sorted((tmp_path / DIRECTORY).iterdir())
    assert [file.name for file in files] == [FILE_NAME, f"{FILE_NAME}.1", f"{FILE_NAME}.2"]
    assert all(0 < file.stat().st_size <= 10_000 for file in files)
    newest = files[0].read_text(encoding="utf-8").splitlines()
    assert json.loads(newest[-1])["message"] == "line 399"
