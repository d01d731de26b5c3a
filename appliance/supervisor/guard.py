"""What a child does first: end with its parent, gain no privileges, and keep its own voice.

A supervisor that is killed cannot clean up, so every child asks the kernel to end it. Two
independent lines hold: PR_SET_PDEATHSIG (Linux), and the parent-life pipe on standard input,
whose end-of-file means the parent is gone. The signal is asked for *by the child*: a hook between
fork and exec is not safe in a process with threads. It fires when the *thread* that spawned the
child ends, so the supervisor spawns from its main thread only.

`main` wraps programs which are not ours (valkey-server): it asks for the signal, takes a lock
that lives as long as the program, and becomes the program. It runs before every start of the
store, so this module imports almost nothing.

Refused here: restart rules (`machine`), environments (`environment`), any knowledge of what runs.
"""

import os
import sys
from collections.abc import Sequence
from typing import Literal, NoReturn

from appliance.errors import EXIT_ALREADY_RUNNING, EXIT_CANNOT_BOOT, EXIT_INTERNAL, EXIT_USAGE
from appliance.frozen import is_frozen

PARENT_VARIABLE = "SLUICE_PARENT"
LOCK_WAIT_S = 10.0
BOOT_LINE_LIMIT_BYTES = 1_000_000
STATUS_LINE_LIMIT_BYTES = 4_000  # below PIPE_BUF, so a line is written in one piece

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_SIGKILL = 9

# Started as their own modules, they skip the command line's imports.
_LIGHT_COMMANDS = {
    "guard": "appliance.supervisor.guard",
    "milvus": "appliance.vectors.server",
    "rule": "appliance.limiter.rule_child",
}


def own_command(name: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs `sluice NAME ARG…` again, frozen or from source."""
    if is_frozen():
        return (sys.executable, name, *arguments)
    if name in _LIGHT_COMMANDS:
        return (sys.executable, "-m", _LIGHT_COMMANDS[name], *arguments)
    return (sys.executable, "-m", "appliance", name, *arguments)


def main(argv: Sequence[str]) -> NoReturn:
    """Becomes the program after `--`: `[--hold FILE] -- PROGRAM ARG…`. Never returns.

    `--hold FILE` locks FILE until the program and all it forked have ended, and waits for an
    earlier holder that is still dying. Exit statuses: 75 the lock is held, 78 the program
    cannot be started.
    """
    arguments = list(argv)
    lock = arguments[1] if arguments[:1] == ["--hold"] and len(arguments) > 1 else ""
    command = arguments[2:] if lock else arguments
    if command[:1] != ["--"] or len(command) < 2:
        _fail(EXIT_USAGE, "usage: guard [--hold FILE] -- PROGRAM ARGUMENT...")
    program = command[1]
    _begin()
    if lock:
        hold(lock)
    # A frozen parent points LD_LIBRARY_PATH at its own libraries: not for foreign programs.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LD_")}
    try:
        os.execve(program, command[1:], environment)  # noqa: S606 # becoming it is the point
    except OSError as error:
        _fail(EXIT_CANNOT_BOOT, f"cannot start {program}: {error.strerror}")


class StatusLine:
    """The child's way to tell its supervisor what it is doing: one JSON object per line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def ready(self, detail: str = "") -> None:
        self._say("ready", detail, "")

    def progress(self, detail: str, percent: int = 0) -> None:
        self._say("progress", detail, "", percent)

    def cannot_boot(self, detail: str, hint: str = "") -> None:
        """Say why starting again will not help, then exit with `EXIT_CANNOT_BOOT`."""
        self._say("cannot_boot", detail, hint)

    def _say(
        self,
        event: Literal["ready", "progress", "cannot_boot"],
        detail: str,
        hint: str,
        percent: int = 0,
    ) -> None:
        import json

        quarter = STATUS_LINE_LIMIT_BYTES // 16  # a character may take 6 bytes, escaped
        said = {"event": event, "detail": detail[:quarter], "hint": hint[:quarter]}
        line = json.dumps(said | {"percent": percent})
        try:
            os.write(self._descriptor, line.encode() + b"\n")
        except BrokenPipeError:
            os._exit(EXIT_INTERNAL)  # nobody listens: the parent is gone


def claim_stdout() -> StatusLine:
    """Moves descriptor 1 to standard error and returns the old one, for status lines only.

    C libraries print to descriptor 1; after this, what they print is a log line.
    """
    private = os.dup(1)
    sys.stdout.flush()
    os.dup2(2, 1)
    return StatusLine(private)


def supervised() -> bool:
    """True in a child of our supervisor, false in the same command started by hand."""
    return PARENT_VARIABLE in os.environ


def read_boot_line() -> bytes:
    """The first line of standard input: a configuration that must not appear in `ps`.

    Call it before `die_with_parent`. Empty when the parent ended before it wrote one.
    """
    _begin()
    line = b""
    while not line.endswith(b"\n") and len(line) < BOOT_LINE_LIMIT_BYTES:
        piece = os.read(0, 65_536)
        if not piece:
            return b""
        line += piece
    return line


def die_with_parent() -> None:
    """Ends this process at once when its supervisor ends. Does nothing when there is none.

    The watching thread reads an unbuffered duplicate: a daemon thread inside buffered standard
    input holds its lock and makes a clean exit abort with SIGABRT. It works while the main
    thread is busy, which an event loop's reader would not.
    """
    if not supervised():
        return
    import threading

    _begin()
    life = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    threading.Thread(target=_end_with, args=(life,), name="parent-life", daemon=True).start()


def forbid_core_dumps() -> None:
    """A core of ours would hold people's questions, and the keys. Children inherit it."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def hold(path: str) -> None:
    """Locks `path` until this process, or the program it becomes, has ended with all its forks.

    A predecessor that was killed may still be dying, so the lock is waited for; the process
    exits with status 75 when it stays taken. Main thread only.
    """
    import fcntl
    import signal

    def too_late(_number: int, _frame: object) -> None:
        raise TimeoutError

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    previous = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, LOCK_WAIT_S)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except TimeoutError:
        _fail(EXIT_ALREADY_RUNNING, f"{os.path.dirname(path)} is used by an earlier process")
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)
    os.set_inheritable(descriptor, True)


def _end_with(life: int) -> None:
    try:
        while os.read(life, 4_096):
            pass
    finally:
        os._exit(EXIT_INTERNAL)


def _begin() -> None:
    """What a child asks of the kernel; the last holds for good, and for all that it starts."""
    _ask_for_death_signal()
    forbid_core_dumps()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _ask_for_death_signal() -> None:
    """Race-free: a parent that died before the request has already changed our parent."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    expected = os.environ.get(PARENT_VARIABLE, "")
    if expected and os.getppid() != int(expected):
        os._exit(EXIT_INTERNAL)


def _prctl(option: int, value: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    zero = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), zero, zero, zero)


def _fail(status: int, message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
