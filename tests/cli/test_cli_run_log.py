"""What a run writes where nobody reads it stays short, however long it runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli import run_log

pytestmark = pytest.mark.unit

TALKING = """
import sys
from pathlib import Path
from appliance.cli import run_log

run_log.LOG_BYTES = 1_000
run_log.bound_errors(Path(sys.argv[1]))
for _ in range(500):
    sys.stderr.write("水" * 20 + "\\n")
sys.stderr.write("last words\\n")
"""


@pytest.mark.parametrize(("name", "is_ours"), [("tui.log", True), ("mine.log", False)])
def test_standard_error_stays_short_in_its_own_log_only(
    name: str, is_ours: bool, tmp_path: Path
) -> None:
    (tmp_path / "tui.log").touch()
    log = tmp_path / name
    with log.open("ab") as sink:
        command = [sys.executable, "-c", TALKING, str(tmp_path / "tui.log")]
        subprocess.run(command, stderr=sink, check=True)
    assert (log.stat().st_size < 1_200) == is_ours
    assert log.read_text().endswith("last words\n")


def test_a_long_log_is_moved_aside_at_a_start(tmp_path: Path) -> None:
    log = tmp_path / run_log.DESKTOP_LOG
    run_log.move_aside(log)
    log.write_text("words")
    run_log.move_aside(log)
    assert log.exists()
    log.write_bytes(bytes(run_log.LOG_BYTES + 1))
    run_log.move_aside(log)
    assert [one.name for one in tmp_path.iterdir()] == ["desktop.1.log"]
