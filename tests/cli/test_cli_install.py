"""`sluice install`: what it writes is well-formed, and exactly that is removed again."""

import configparser
import os
import re
import resource
import stat
from pathlib import Path

import pytest

from appliance.cli import install as installing
from appliance.cli.install import desktop_entry, unit
from appliance.cli.main import main
from appliance.errors import CannotBoot, Unavailable
from appliance.settings import Settings, models_directory
from appliance.supervisor import directory

pytestmark = pytest.mark.unit

ODD = '/media/a b/"水闸" 100% $HOME `x` \\ sluice'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and no systemd to talk to."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return tmp_path


@pytest.fixture(autouse=True)
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where models were asked for."""
    asked: list[Path] = []
    monkeypatch.setattr(
        installing, "fetch_starters", lambda settings: asked.append(models_directory(settings))
    )
    return asked


def files_of(folder: Path) -> set[str]:
    return {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}


def test_a_desktop_entry_with_icon_comes_and_goes(home: Path) -> None:
    (home / ".local/share/applications").mkdir(parents=True)
    (home / ".local/share/applications/other.desktop").write_text("not ours")
    assert main(["install"]) == 0
    assert files_of(home) == {
        ".local/share/applications/other.desktop",
        ".local/share/applications/sluice.desktop",
        ".local/share/icons/hicolor/scalable/apps/sluice.svg",
        ".local/share/sluice-install/installed.json",
    }
    assert main(["install"]) == 2
    assert main(["uninstall"]) == 0
    assert files_of(home) == {".local/share/applications/other.desktop"}
    assert main(["uninstall"]) == 2


def test_a_file_that_was_changed_since_is_left(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", "--service"]) == 0
    path = home / ".config/systemd/user/sluice.service"
    assert "systemctl --user enable --now sluice.service" in capsys.readouterr().out
    path.write_text(path.read_text() + "# mine\n")
    assert main(["uninstall"]) == 0
    assert f"left {path}" in capsys.readouterr().out
    data = {one for one in files_of(home) if one.startswith(".local/share/sluice/")}
    assert files_of(home) - data == {".config/systemd/user/sluice.service"}
    assert main(["install", "--service"]) == 2


def test_the_executable_is_copied_to_where_programs_belong(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = home / "stick"
    carrier.write_bytes(b"the executable")
    monkeypatch.setattr(installing, "executable_file", lambda: carrier)
    assert main(["install"]) == 0
    copy = home / ".local/bin/sluice"
    assert copy.read_bytes() == b"the executable"
    assert copy.stat().st_mode & 0o777 == 0o755
    assert f'Exec="{copy}"' in (home / ".local/share/applications/sluice.desktop").read_text()
    assert main(["uninstall"]) == 0
    assert files_of(home) == {"stick"}


def test_an_executable_there_is_no_room_for_is_named_and_not_left_half(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    carrier = home / "stick"
    carrier.write_bytes(bytes(50_000))
    monkeypatch.setattr(installing, "executable_file", lambda: carrier)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        assert main(["install"]) == 69
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"{home}/.local/bin/sluice cannot be written" in capsys.readouterr().err
    assert list((home / ".local/bin").iterdir()) == []
    assert main(["uninstall"]) == 0
    assert files_of(home) == {"stick"}


def test_a_desktop_entry_starts_exactly_that_program() -> None:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(desktop_entry((ODD,), "/data dir"))
    entry = dict(parser["Desktop Entry"])
    assert entry["Type"] == "Application"
    # A value of type string first: \\\\ is a backslash. Then the quoting of Exec, then its codes.
    value = entry["Exec"].replace("\\\\", "\\")
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', value)
    words = [re.sub(r"\\(.)", r"\1", one).replace("%%", "%") for one in quoted]
    assert words == [ODD, "--data", "/data dir"]


def test_a_unit_starts_exactly_that_program() -> None:
    text = unit((ODD,), "", system=False)
    line = next(one for one in text.splitlines() if one.startswith("ExecStart="))
    quoted = line.removeprefix("ExecStart=").removesuffix(' "serve"')
    plain = quoted[1:-1].replace("%%", "%").replace("$$", "$").replace('\\"', '"')
    assert plain.replace("\\\\", "\\") == ODD
    assert "WantedBy=default.target" in text
    assert "DynamicUser" not in text
    assert "LimitCORE=0" in text


def test_a_system_unit_is_confined_to_its_own_folders() -> None:
    text = unit(("/usr/local/bin/sluice",), "", system=True)
    assert 'ExecStart="/usr/local/bin/sluice" "serve" "--data" "/var/lib/sluice"' in text
    assert "DynamicUser=yes" in text
    assert "XDG_CACHE_HOME=/var/cache/sluice" in text
    assert "WantedBy=multi-user.target" in text


def test_a_service_without_models_is_not_installed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(settings: Settings) -> None:
        raise Unavailable("no network")

    monkeypatch.setattr(installing, "fetch_starters", away)
    assert main(["install", "--service"]) == 69
    assert "sluice-full" in capsys.readouterr().err
    assert not (home / ".config").exists()
    assert main(["install"]) == 0, "a desktop entry needs none: the first start asks for them"


def test_a_service_s_models_are_fetched_to_where_it_looks(
    home: Path, fetched: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["install", "--service"]) == 0
    assert fetched.pop() == home / ".local/share/sluice/models"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(installing, "SYSTEM_DATA", home / "state")
    there = installing.Places(home / "s", home / "e", home / "b", home / "u")
    monkeypatch.setattr(installing, "places", lambda *, system: there)
    assert main(["install", "--system"]) == 0
    assert fetched == [home / "state/.local/share/sluice/models"]
    assert f"HOME={home / 'state'} " in (home / "u/sluice.service").read_text()
    assert (home / "state/backups").stat().st_mode & 0o777 == 0o700
    assert (home / "state").stat().st_mode & 0o777 == 0o700


def test_who_installs_a_service_is_told_how_to_reach_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = home / "my data"
    data.mkdir(mode=0o700)
    (data / "settings.toml").write_text("[server]\nport = 8499\n")
    assert main(["install", "--service", "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert f"it answers at http://127.0.0.1:8499; its key is in {data}/admin.key" in said
    assert f"tui --data '{data}'" in said
    assert "loginctl enable-linger" in said
    assert main(["uninstall"]) == 0

    there = installing.Places(home / "s", home / "e", home / "b", home / "u")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(installing, "SYSTEM_DATA", home / "state")
    monkeypatch.setattr(installing, "places", lambda *, system: there)
    assert main(["install", "--system"]) == 0
    said = capsys.readouterr().out
    assert "http://127.0.0.1:8400" in said
    assert "-p DynamicUser=yes -p User=sluice -p StateDirectory=sluice" in said
    assert "tui --data /var/lib/sluice" in said


def test_root_is_told_how_to_act_on_the_data_of_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    theirs = os.stat_result((stat.S_IFDIR | 0o700, 1, 1, 2, 61_184, 61_184, 0, 0, 0, 0))
    with pytest.raises(CannotBoot) as refused:
        directory._check_owner(directory.SERVICE_DATA, theirs)
    assert "COMMAND --data /var/lib/sluice" in refused.value.hint
    with pytest.raises(CannotBoot) as refused:
        directory._check_owner(Path("/home/somebody/sluice"), theirs)
    assert "run as that user" in refused.value.hint


def test_a_system_service_has_no_other_data_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main(["install", "--system", "--data", str(home / "d")]) == 2
    assert "leave --data out" in capsys.readouterr().err
    assert files_of(home) == set()


def test_a_system_service_needs_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["install", "--system"]) == 2
    assert "sudo sluice install --system" in capsys.readouterr().err
