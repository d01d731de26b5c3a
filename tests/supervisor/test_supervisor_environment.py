"""What a child inherits: nothing that was not allowed."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.supervisor.environment import ALLOWED, child_environment
from appliance.supervisor.guard import PARENT_VARIABLE, own_command

pytestmark = pytest.mark.unit

HOSTILE = {
    "LD_PRELOAD": "evil.so",
    "LD_LIBRARY_PATH": "evil",
    "PYTHONPATH": "evil",
    "PYTHONSTARTUP": "evil.py",
    "PYTHONHOME": "evil",
    "SLUICE_KEY": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "DYLD_INSERT_LIBRARIES": "evil.dylib",
    "PYTHON_DOTENV_DISABLED": "0",
    "_PYI_APPLICATION_HOME_DIR": "evil",
}


def test_hostile_variables_do_not_pass() -> None:
    given_ = HOSTILE | {"PATH": "/usr/bin", "LC_ALL": "zh_CN.UTF-8", "HOME": "/home/x"}
    environment = child_environment(given_, {}, parent_pid=7)
    assert "evil" not in str(environment)
    assert "secret" not in str(environment)
    assert environment["PYTHON_DOTENV_DISABLED"] == "1"
    assert environment["PATH"] == "/usr/bin"
    assert environment["LC_ALL"] == "zh_CN.UTF-8"
    assert environment[PARENT_VARIABLE] == "7"


def test_own_settings_of_a_child_win() -> None:
    environment = child_environment({"TMPDIR": "a"}, {"TMPDIR": "b", "OMP_X": "1"}, parent_pid=7)
    assert environment["TMPDIR"] == "b"
    assert environment["OMP_X"] == "1"


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=20))
def test_only_names_on_the_list_pass(inherited: dict[str, str]) -> None:
    ours = set(child_environment({}, {}, parent_pid=1))
    passed = set(child_environment(inherited, {}, parent_pid=1)) - ours
    assert all(name in ALLOWED or name.startswith("LC_") for name in passed)


def test_a_frozen_program_starts_itself_from_scratch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert own_command("guard", "--", "x") == (sys.executable, "guard", "--", "x")
    environment = child_environment(HOSTILE, {}, parent_pid=1)
    assert "evil" not in str(environment)
    assert "PYTHONPATH" not in environment


def test_from_source_a_child_finds_the_package_and_nothing_in_its_folder() -> None:
    environment = child_environment({}, {}, parent_pid=1)
    assert (Path(environment["PYTHONPATH"]) / "appliance" / "supervisor").is_dir()
    assert environment["PYTHONSAFEPATH"] == "1"
    assert own_command("worker", "x")[1:] == ("-m", "appliance", "worker", "x")
    assert own_command("guard")[1:] == ("-m", "appliance.supervisor.guard")
