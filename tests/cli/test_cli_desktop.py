"""A double-click: a window of a terminal emulator, or the address shown on the desktop."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from appliance.cli.desktop import TERMINALS, XTERM, foreign_environment, has_desktop
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.lock import DataLock, Running

pytestmark = pytest.mark.integration

READY_TIMEOUT_S = 90.0


class Desktop:
    """A folder of programs that note how they were called, as the only ones on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.data = folder / "data"

    def add(self, name: str, status: int = 0) -> None:
        note = self.folder / f"{name}.note"
        program = self.programs / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "window=$SLUICE_WINDOW" "$@" > "{note}"\n'
            f'printf "%s\\n" "$LC_ALL" "$LANGUAGE" > "{note}.locale"\nexit {status}\n'
        )
        program.chmod(0o755)

    def noted(self, name: str) -> list[str]:
        return (self.folder / f"{name}.note").read_text().splitlines()

    def awaited(self, name: str, click: "subprocess.Popen[str]") -> list[str]:
        """What a program was called with, once it was."""
        note = self.folder / f"{name}.note"
        while not (note.exists() and note.read_text().endswith("\n")):
            log = self.data / "desktop.log"
            assert click.poll() is None, log.read_text() if log.exists() else click.communicate()
        return self.noted(name)

    def click(self, engine: str = "fake", **more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "appliance", "--data", str(self.data)]
        own = {"PATH": str(self.programs), "DISPLAY": ":99", "HOME": str(self.folder)}
        return subprocess.Popen(
            [*command, "--engine", engine, "--port", "0"],
            env={k: v for k, v in os.environ.items() if k.startswith("PYTHON")} | own | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def desktop(tmp_path: Path) -> Desktop:
    return Desktop(tmp_path)


def test_a_window_of_the_first_terminal_that_starts_is_opened(desktop: Desktop) -> None:
    desktop.add("gnome-terminal", status=1)  # there, and broken
    desktop.add("konsole")
    desktop.add("xterm")
    click = desktop.click()
    _, errors = click.communicate(timeout=60)
    assert click.returncode == 0, errors
    window, option, *command = desktop.noted("konsole")
    assert (window, option) == ("window=1", "-e")
    assert command[-5:] == [str(desktop.data), "--engine", "fake", "--port", "0"]
    assert desktop.noted("gnome-terminal")
    assert not (desktop.folder / "xterm.note").exists()


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"LANG": "zh_XX.UTF-8"}, ["C.UTF-8", "zh_XX.UTF-8"]),  # it was never generated
        ({"LANG": "zh_XX.UTF-8", "LC_ALL": "C"}, ["C.UTF-8", "C"]),
        ({"LANG": "C.UTF-8"}, ["", ""]),
    ],
)
def test_the_terminal_has_a_locale_in_which_it_shows_chinese(
    desktop: Desktop, own: dict[str, str], told: list[str]
) -> None:
    desktop.add("kitty")
    click = desktop.click(PYTHONCOERCECLOCALE="0", **own)
    _, errors = click.communicate(timeout=60)
    assert click.returncode == 0, errors
    assert (desktop.folder / "kitty.note.locale").read_text().splitlines() == told


def test_an_xterm_of_any_name_gets_colours_and_a_font(desktop: Desktop) -> None:
    desktop.add("lxterm")
    desktop.add("xterm")
    (desktop.programs / "x-terminal-emulator").symlink_to(desktop.programs / "lxterm")
    click = desktop.click()
    _, errors = click.communicate(timeout=60)
    assert click.returncode == 0, errors
    assert desktop.noted("xterm")[1 : len(XTERM)] == list(XTERM[1:])
    assert not (desktop.folder / "lxterm.note").exists()


def test_without_any_terminal_it_serves_and_shows_where(desktop: Desktop) -> None:
    desktop.add("notify-send")
    first = desktop.click()
    try:
        said = desktop.awaited("notify-send", first)
        (url,) = [line.rpartition(" ")[2] for line in said if "serves at" in line]
        assert "fetched" not in "".join(said)
        timeout_s = READY_TIMEOUT_S
        assert httpx.get(f"{url}/healthz", trust_env=False, timeout=timeout_s).status_code == 200
        assert str(desktop.data / "admin.key") in said

        (desktop.folder / "notify-send.note").unlink()
        second = desktop.click()
        second.communicate(timeout=60)
        assert second.returncode == 0
        assert any(url in line for line in desktop.noted("notify-send"))
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=READY_TIMEOUT_S)
    assert first.returncode == 0


class Slow(BaseHTTPRequestHandler):
    """Says that it has weights, and does not come to the end of them."""

    def do_GET(self) -> None:
        self.server.asked.set()  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.ended.wait(0.1):  # type: ignore[attr-defined]
                self.wfile.write(b"some")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def slow_source() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.asked, server.ended = threading.Event(), threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()  # type: ignore[attr-defined]
            server.shutdown()
            thread.join()


def test_models_that_are_not_here_are_fetched_while_the_address_is_shown(desktop: Desktop) -> None:
    desktop.add("notify-send")
    desktop.data.mkdir(mode=0o700)
    with slow_source() as source:
        (desktop.data / "settings.toml").write_text(
            f"[models]\ndirectory = '{desktop.folder / 'models'}'\nchat = 'qwen3-4b-q4_k_m'\n"
            f"mirror = 'http://127.0.0.1:{source.server_address[1]}'\n"
        )
        (desktop.data / "desktop.log").write_text("words of a click before\n")
        click = desktop.click("llama")
        try:
            said = desktop.awaited("notify-send", click)
            assert any("serves at" in line for line in said)
            assert any("正在下载模型" in line for line in said)
            assert source.asked.wait(READY_TIMEOUT_S)  # type: ignore[attr-defined]
        finally:
            click.send_signal(signal.SIGTERM)
            click.communicate(timeout=READY_TIMEOUT_S)
    assert click.returncode == 0
    assert (desktop.data / "desktop.log").read_text().startswith("words of a click before\n")


def test_without_any_terminal_the_desktop_shows_what_went_wrong(desktop: Desktop) -> None:
    desktop.add("notify-send")
    desktop.data.mkdir(mode=0o700)
    (desktop.data / "settings.toml").write_text("[ui]\nshiny = true\n")
    click = desktop.click()
    click.communicate(timeout=60)
    assert click.returncode == 2
    said = "\n".join(desktop.noted("notify-send"))
    assert "shiny" in said
    assert str(desktop.data / "desktop.log") in said
    assert "shiny" in (desktop.data / "desktop.log").read_text()


def test_a_second_click_during_a_start_shows_the_address_of_the_first(desktop: Desktop) -> None:
    desktop.add("notify-send")
    lock = DataLock.take(prepare_data_directory(desktop.data))
    try:
        click = desktop.click()
        while not (desktop.data / "desktop.log").exists():
            assert click.poll() is None
        lock.announce(Running(pid=1, url="http://127.0.0.1:9", started_at_ms=1))
        click.communicate(timeout=60)
    finally:
        lock.release()
    assert click.returncode == 0
    assert "Sluice serves at http://127.0.0.1:9" in desktop.noted("notify-send")


def test_a_window_without_a_terminal_in_it_does_not_open_another(desktop: Desktop) -> None:
    desktop.add("xterm")
    click = desktop.click(SLUICE_WINDOW="1")
    _, errors = click.communicate(timeout=60)
    assert click.returncode == 69
    assert "sluice serve" in errors
    assert not (desktop.folder / "xterm.note").exists()


def test_a_desktop_is_where_windows_can_be_shown() -> None:
    assert has_desktop({"DISPLAY": ":0"})
    assert has_desktop({"WAYLAND_DISPLAY": "wayland-0"})
    assert not has_desktop({"DISPLAY": ""})
    assert not has_desktop({"DISPLAY": ":0", "SLUICE_WINDOW": "1"})
    assert len(set(TERMINALS)) == len(TERMINALS)


def test_foreign_programs_get_the_library_path_they_had() -> None:
    frozen = {"LD_LIBRARY_PATH": "/unpacked", "_PYI_ARCHIVE_FILE": "x", "HOME": "/h"}
    assert foreign_environment(frozen) == {"HOME": "/h"}
    had = foreign_environment(frozen | {"LD_LIBRARY_PATH_ORIG": "/opt/cuda"})
    assert had == {"HOME": "/h", "LD_LIBRARY_PATH": "/opt/cuda"}
