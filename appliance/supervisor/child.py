"""One supervised child: the thin shell around `machine`.

The machine decides; this shell spawns, signals, arms one timer and reports what happened. All of
it runs on the event loop of the main thread: commands and callbacks call the machine directly,
and one task (`run`) lives with the process. Nothing polls.

A child counts as ready when it says so: our own programs write a status line, a foreign program
is probed until it answers (bounded by the start deadline, with growing pauses). A child with a
`watch` is asked again while it is ready, for one that is stopped or wedged never exits.
"""

import asyncio
import logging
import random
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, STDOUT

import psutil

from appliance.schema.status import ChildStatus
from appliance.supervisor.environment import current_environment
from appliance.supervisor.machine import ALIVE, Action, Ended, Machine, Policy, State
from appliance.supervisor.process import RunningProcess, StatusEvent
from appliance.supervisor.records import Record, read_record

PROBE_TIMEOUT_S = 1.0
WATCH_TIMEOUT_S = 5.0
PROBE_PAUSE_FIRST_S = 0.005
PROBE_PAUSE_CAP_S = 0.25
PRIVATE_UMASK = 0o077

log = logging.getLogger("sluice.supervisor")

Probe = Callable[[], Awaitable[bool]]
Diagnosis = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """How to run one child.

    `read_line` reads a line of its log; what is not ours has a form of its own.
    `boot_line` is one line of JSON written to its standard input: secrets go there, not into
    `command`. Without `probe` the child tells its readiness by a status line. `watch` is asked
    while the child is ready; one that stays silent is killed. `diagnose` reads the last words of
    a foreign program and returns a hint when starting again cannot help, else "". `needs` names
    the children that must be ready before this one starts; None means the one before it in the
    list, () means nobody.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    boot_line: str = field(default="", repr=False)
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    probe: Probe | None = None
    watch: Probe | None = None
    diagnose: Diagnosis | None = None
    read_line: Callable[[bytes], Record] = read_record
    needs: tuple[str, ...] | None = None
    policy: Policy = field(default_factory=Policy)


class Child:
    """Keeps one child alive. Commands return at once; `settled` waits for a state."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        on_change: Callable[["Child"], None] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.spec = spec
        self._on_change = on_change
        self._jitter = jitter
        self._machine = Machine(spec.policy)
        self._log = logging.getLogger(f"sluice.child.{spec.name}")
        self._process: RunningProcess | None = None
        self._pid: int | None = None
        self._told: StatusEvent | None = None
        self._late_signal: Action | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._spawn = asyncio.Event()
        self._changed = asyncio.Event()
        self._reported: tuple[State, str] = ("stopped", "")

    # --- state ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> State:
        return self._machine.state

    @property
    def pid(self) -> int | None:
        return self._pid

    def status(self) -> ChildStatus:
        running = self._machine.state in ALIVE
        return ChildStatus(
            name=self.name,
            state=self._machine.state,
            pid=self._pid,
            restarts=self._machine.restarts,
            uptime_s=self._now() - self._machine.since if running else 0.0,
            detail=self._machine.detail,
            rss_bytes=resident_bytes(self._pid),
            percent=self._machine.percent,
        )

    async def settled(self, *states: State) -> State:
        """Returns once the child is in one of `states`. Bound it with `asyncio.timeout`."""
        while self._machine.state not in states:
            await self._changed.wait()
        return self._machine.state

    # --- commands ---------------------------------------------------------------------------

    def start(self) -> None:
        self._perform(self._machine.start(self._now()))

    def stop(self, timeout_s: float) -> None:
        self._perform(self._machine.stop(self._now(), timeout_s=timeout_s))

    def restart(self) -> None:
        self._perform(self._machine.restart(self._now()))

    def retry(self) -> None:
        self._perform(self._machine.retry(self._now()))

    def kill(self) -> None:
        """Ends a wedged child the hard way; it comes back like after any crash."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    async def run(self) -> None:
        """Owns the processes of this child until cancelled; leaves none behind."""
        try:
            while True:
                await self._spawn.wait()
                self._spawn.clear()
                end = await self._live()
                self._process = self._pid = self._told = self._late_signal = None
                now = self._now()
                self._perform(self._machine.ended(end, now, jitter=self._jitter()))
        finally:
            if self._timer is not None:
                self._timer.cancel()

    # --- the shell --------------------------------------------------------------------------

    def _perform(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if action is Action.SPAWN:
                self._spawn.set()
            elif self._process is not None:
                self._process.signal(_signal(action))
            else:
                self._late_signal = action  # the spawn is under way: deliver it on arrival
        self._arm()
        self._report()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wake_at = self._machine.wake_at
        self._timer = (
            asyncio.get_running_loop().call_at(wake_at, self._tick) if wake_at is not None else None
        )

    def _tick(self) -> None:
        # The loop may fire a timer early by its clock's resolution.
        self._perform(self._machine.tick(max(self._now(), self._machine.wake_at or 0.0)))

    def _report(self) -> None:
        current = (self._machine.state, self._machine.detail)
        if current == self._reported:
            return
        before, self._reported = self._reported, current
        if current[0] != before[0]:
            self._log_state()
        else:
            log.debug("%s is %s: %s", self.name, *current)
        self._changed.set()
        self._changed = asyncio.Event()
        if self._on_change is not None:
            self._on_change(self)

    def _log_state(self) -> None:
        """One line for each change; a crash is a warning while it is mended without anybody."""
        machine = self._machine
        if machine.state == "failed":
            log.error("%s is given up: %s", self.name, machine.detail)
        elif machine.state == "backing_off":
            pause_s = max((machine.wake_at or 0.0) - self._now(), 0.0)
            again = "%s %s; it is started again in %.1f s"
            log.warning(again, self.name, machine.detail, pause_s)
        else:
            log.info("%s is %s", self.name, machine.state)

    async def _live(self) -> Ended:
        """Runs one process from spawn to end."""
        # PDEATHSIG fires when the spawning *thread* ends: only the main thread may spawn.
        assert threading.current_thread() is threading.main_thread()
        try:
            transport, process = await self._spawn_process()
        except OSError as error:
            cannot = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
            return Ended(status=None, words=str(error), cannot_boot=cannot)
        try:
            self._process, self._pid = process, transport.get_pid()
            if self._late_signal is not None:
                process.signal(_signal(self._late_signal))
            if self.spec.boot_line:
                process.tell(self.spec.boot_line)
            async with asyncio.TaskGroup() as group:
                attendant = group.create_task(self._attend())
                status = await asyncio.shield(process.ended)
                attendant.cancel()
        finally:
            await process.abandon()
            transport.close()
        return self._judge(status, process.last_words)

    async def _spawn_process(self) -> tuple[asyncio.SubprocessTransport, RunningProcess]:
        own = self.spec.probe is None
        return await asyncio.get_running_loop().subprocess_exec(
            lambda: RunningProcess(
                log=self._log,
                read_line=self.spec.read_line,
                on_status=self._heard if own else None,
            ),
            *self.spec.command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE if own else STDOUT,
            cwd=self.spec.directory,
            env=current_environment(self.spec.extra_environment),
            start_new_session=True,
            umask=PRIVATE_UMASK,
        )

    async def _attend(self) -> None:
        """Asks until the child answers, then now and then whether it still does."""
        if self.spec.probe is not None:
            await self._until_answered(self.spec.probe)
        while self.spec.watch is not None:
            await asyncio.sleep(self.spec.policy.watch_every_s)
            if await self._asked(self.spec.watch, WATCH_TIMEOUT_S) is None:
                self._perform(self._machine.answered())
            else:
                self._perform(self._machine.unanswered())

    async def _until_answered(self, probe: Probe) -> None:
        """The start deadline ends what never answers."""
        pause_s = PROBE_PAUSE_FIRST_S
        while (refusal := await self._asked(probe, PROBE_TIMEOUT_S)) is not None:
            if pause_s >= PROBE_PAUSE_CAP_S:
                self._perform(self._machine.progressed(f"no answer yet: {refusal}"))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PROBE_PAUSE_CAP_S)
        self._perform(self._machine.became_ready(self._now()))

    async def _asked(self, probe: Probe, timeout_s: float) -> str | None:
        """None when the child answered, else why not."""
        try:
            async with asyncio.timeout(timeout_s):
                return None if await probe() else "not yet"
        except Exception as error:  # a probe that breaks is an answer too: not yet
            return str(error) or type(error).__name__

    def _heard(self, event: StatusEvent) -> None:
        if event.event == "ready":
            self._perform(self._machine.became_ready(self._now()))
        elif event.event == "progress":
            self._perform(self._machine.progressed(event.detail, event.percent))
        else:
            self._told = event

    def _judge(self, status: int, words: str) -> Ended:
        if self._told is not None:
            told = self._told
            return Ended(status=status, words=told.detail, cannot_boot=True, hint=told.hint)
        hint = self.spec.diagnose(words) if self.spec.diagnose is not None else ""
        return Ended(status=status, words=words, cannot_boot=bool(hint), hint=hint)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def resident_bytes(pid: int | None) -> int:
    """Resident memory of a process, 0 when there is none."""
    if pid is None:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _signal(action: Action) -> signal.Signals:
    return signal.SIGKILL if action is Action.KILL else signal.SIGTERM
