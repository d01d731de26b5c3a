"""Started by a double-click: no terminal is attached, but there is a desktop.

The UI opens in a window of the first terminal emulator that starts. Without one, Sluice serves
and the desktop shows where, or why it cannot; models that are not here are fetched while it serves.
Either way a second double-click finds the appliance that runs and attaches to it, or says its
address again.

Programs of the desktop get the environment as it was: the frozen program's own library path is
not for them.
"""

import locale
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread

from appliance.cli.run_log import DESKTOP_LOG, bound_errors, move_aside
from appliance.errors import EXIT_OK, EXIT_UNAVAILABLE, AlreadyRunning, SluiceError
from appliance.frozen import lasting_command
from appliance.runtime.keyfile import FILE_NAME as KEY_NAME
from appliance.runtime.options import Options
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.lock import awaited, sight

WINDOW_VARIABLE = "SLUICE_WINDOW"  # set in a window that was opened for us
STARTS_WITHIN_S = 2.0
ANY_LOCALE = "C.UTF-8"  # which glibc has by itself since 2.35, and Debian's long before
FETCHING = "models are being fetched 正在下载模型"

XTERM = (
    "xterm",
    "-tn",
    "xterm-256color",
    "-fa",
    "Monospace",
    "-fs",
    "11",
    "-geometry",
    "110x34",
    "-e",
)
"""As it comes it has sixteen colours, and letters for screens of long ago."""
XTERMS = ("xterm", "uxterm", "lxterm")
"""Under these names, too."""
# The desktop's own choice first. What follows a name comes before the command.
TERMINALS: tuple[tuple[str, ...], ...] = (
    ("xdg-terminal-exec",),
    ("x-terminal-emulator", "-e"),
    ("gnome-terminal", "--"),
    ("ptyxis", "--"),
    ("kgx", "--"),
    ("konsole", "-e"),
    ("xfce4-terminal", "-x"),
    ("mate-terminal", "-x"),
    ("lxterminal", "-e"),
    ("kitty",),
    ("alacritty", "-e"),
    ("foot",),
    ("wezterm", "start", "--"),
    XTERM,
    ("xterm", "-e"),  # one that was built without such fonts
)
MESSAGES: tuple[tuple[str, ...], ...] = (
    ("notify-send", "--expire-time=0", "Sluice"),
    ("zenity", "--info", "--no-markup", "--title=Sluice", "--text"),
    ("kdialog", "--title", "Sluice", "--msgbox"),
    ("xmessage",),
)


def has_desktop(environment: Mapping[str, str] = os.environ) -> bool:
    """True where a window could be shown, and this start is not already one inside a window."""
    shown = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    return bool(shown) and WINDOW_VARIABLE not in environment


def open_without_terminal(options: Options, arguments: list[str]) -> int:
    """Opens the UI in a terminal's window, else serves and shows the address.

    What keeps it from serving is shown too, for nobody reads what it writes; then it is raised.
    """
    command = [*lasting_command(), *arguments]
    environment = readable(foreign_environment(os.environ)) | {WINDOW_VARIABLE: "1"}
    if any(_starts([*_known(one), *command], environment) for one in TERMINALS):
        return EXIT_OK
    log = options.data_directory / DESKTOP_LOG
    try:
        return _serve(options, log)
    except SluiceError as error:
        show_message("\n".join(filter(None, (f"Sluice: {error.message}", error.hint, str(log)))))
        raise


def _serve(options: Options, log: Path) -> int:
    data = prepare_data_directory(options.data_directory)
    seen = sight(data)
    if seen.running is not None and seen.state == "running":
        return _told(seen.running.url, data)
    from appliance.backup.layout import settings_of
    from appliance.cli.starters import take_carried
    from appliance.runtime.children import lacking_weights
    from appliance.runtime.serving import Listener, serve

    _say_into(log)
    settings = options.applied(settings_of(data))
    take_carried(settings)
    is_lacking = bool(lacking_weights(settings))

    def tell(url: str, more: str = "") -> None:  # a program of the desktop takes a moment
        Thread(target=_told, args=(url, data, more), name="message", daemon=True).start()

    def serving(url: str) -> None:
        tell(url, FETCHING if is_lacking else "")

    def ready(url: str) -> None:
        if is_lacking:
            tell(url)

    try:
        return serve(replace(options, missing="fetch"), Listener(ready=ready, serving=serving))
    except AlreadyRunning:  # one was started a moment before
        running = awaited(data)
        if running is None:
            raise
        return _told(running.url, data)


def hold_window(status: int) -> None:
    """Keeps a window that was opened for us until its words about a failure were read."""
    if status != EXIT_OK and WINDOW_VARIABLE in os.environ and sys.stdin.isatty():
        sys.stderr.write("\nPress Enter to close. 按回车键关闭。\n")
        sys.stdin.readline()


def foreign_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for programs that are not ours, as it was before ours was unpacked."""
    found = {k: v for k, v in environment.items() if not k.startswith("_PYI_")}
    found.pop("LD_LIBRARY_PATH", None)
    original = found.pop("LD_LIBRARY_PATH_ORIG", None)
    return found | ({"LD_LIBRARY_PATH": original} if original else {})


def readable(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with a locale in which a terminal shows every script.

    Where the person's own was never generated, or there is none, xterm takes each byte for a
    letter of Western Europe.
    """
    if _is_utf8():
        return dict(environment)
    from ui.texts import LOCALE_VARIABLES

    language = next((environment[name] for name in LOCALE_VARIABLES if environment.get(name)), "")
    return {**environment, "LC_ALL": ANY_LOCALE, "LANGUAGE": language}


def _is_utf8() -> bool:
    """Whether the locale of our environment is here, and is one of UTF-8."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
        return locale.nl_langinfo(locale.CODESET).upper() == "UTF-8"
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _known(terminal: tuple[str, ...]) -> tuple[str, ...]:
    """How to start it well where it is another name of one we know."""
    found = shutil.which(terminal[0])
    is_xterm = found is not None and Path(found).resolve().name in XTERMS
    return XTERM if is_xterm else terminal


def show_message(text: str) -> bool:
    """Shows a text on the desktop; False where nothing can. Does not wait for an answer."""
    environment = foreign_environment(os.environ)
    return any(_starts([*one, text], environment) for one in MESSAGES)


def _starts(command: list[str], environment: Mapping[str, str]) -> bool:
    """True when the program is there and is running, or has done its work, after a moment."""
    program = shutil.which(command[0], path=environment.get("PATH", os.defpath))
    if program is None:
        return False
    try:
        process = subprocess.Popen(
            [program, *command[1:]],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return process.wait(STARTS_WITHIN_S) == 0
    except subprocess.TimeoutExpired:
        return True
    except OSError:
        return False


def _told(url: str, data: Path, more: str = "") -> int:
    said = (f"Sluice serves at {url}", f"Sluice 正在 {url} 提供服务", more, str(data / KEY_NAME))
    text = "\n".join(filter(None, said))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return EXIT_OK if show_message(text) else EXIT_UNAVAILABLE


def _say_into(log: Path) -> None:
    """Nobody reads our output here: it goes to the end of a file of the data directory, which
    another click may be writing to."""
    move_aside(log)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    bound_errors(log)
