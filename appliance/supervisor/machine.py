"""The life of one child as a pure state machine: values and a clock in, actions out.

    stopped ── start ──▶ starting ── ready ──▶ ready
       ▲                    │  ▲                 │
       │                 ended │ delay over    ended
       │                    ▼  │                 │
       │                 backing_off ◀───────────┘
       │                    │  too many restarts, or it cannot boot
       │                    ▼
       │                  failed ── retry ──▶ starting
       └── ended ── stopping ◀── stop or restart, from starting and ready

Crash-only: a hang (`misses` unanswered questions), a crash and an operator's restart take one
path. A child that says it cannot
boot is not started again until somebody asks, because the same start fails the same way.
Restart intensity follows Erlang/OTP supervisors: more than `restarts` in `window_s` is a defect,
not bad luck, so the child is given up loudly while the others live.

The machine performs nothing and waits for nothing: the shell (`child`) does what the returned
actions say, and calls `tick` when `wake_at` has passed.
"""

import signal
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from appliance.errors import EXIT_CANNOT_BOOT

State = Literal["stopped", "starting", "ready", "backing_off", "failed", "stopping"]
ALIVE: frozenset[State] = frozenset({"starting", "ready", "stopping"})
DETAIL_CHARS = 600
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Action(Enum):
    """What the shell must do now. `KILL` means the whole process group."""

    SPAWN = "spawn"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The bounds of one child's life, in seconds."""

    start_timeout_s: float = 300.0
    stop_timeout_s: float = 10.0
    backoff_first_s: float = 0.2
    backoff_cap_s: float = 30.0
    restarts: int = 5
    window_s: float = 60.0
    watch_every_s: float = 10.0
    misses: int = 3


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended. `status` is negative for a signal, None when it never started."""

    status: int | None
    words: str = ""
    cannot_boot: bool = False
    hint: str = ""


class Machine:
    """Decides for one child. `now` is any monotonic clock in seconds."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.state: State = "stopped"
        self.detail = ""
        self.percent = 0  # how far a starting child says it is
        self.restarts = 0
        self.wake_at: float | None = None
        self.since = 0.0
        self._start_again = False
        self._gave_up = False
        self._misses = 0
        self._failures = 0
        self._crashes: deque[float] = deque(maxlen=policy.restarts)

    # --- what the operator wants ------------------------------------------------------------

    def start(self, now: float) -> tuple[Action, ...]:
        """Starts a stopped child; anything else is already on its way or was given up."""
        return self._spawn(now) if self.state == "stopped" else ()

    def stop(self, now: float, *, timeout_s: float) -> tuple[Action, ...]:
        """Ends the child: SIGTERM now, SIGKILL after `timeout_s`. A later call may only shorten."""
        if self.state in ("backing_off", "failed"):
            self._enter("stopped", now)
        if self.state == "stopping":
            self._start_again = False
            if self.wake_at is not None:
                self.wake_at = min(self.wake_at, now + timeout_s)
        if self.state in ("starting", "ready"):
            return self._end(now, timeout_s)
        return ()

    def restart(self, now: float) -> tuple[Action, ...]:
        """Ends the child if it runs and starts it, with a clean record of failures."""
        self._forgive()
        if self.state in ("starting", "ready"):
            actions = self._end(now, self.policy.stop_timeout_s)
            self._start_again = True
            return actions
        if self.state == "stopping":
            self._start_again = True
            return ()
        return self._spawn(now)

    def retry(self, now: float) -> tuple[Action, ...]:
        """Starts a child that was given up or is waiting, now; leaves a running one alone."""
        if self.state in ("failed", "backing_off", "stopped"):
            self._forgive()
            return self._spawn(now)
        return ()

    # --- what happened ----------------------------------------------------------------------

    def became_ready(self, now: float) -> tuple[Action, ...]:
        if self.state == "starting" and not self._gave_up:
            self._misses = 0
            self._enter("ready", now)
        return ()

    def answered(self) -> tuple[Action, ...]:
        """A ready child that is watched answered: it is not wedged."""
        self._misses = 0
        return ()

    def unanswered(self) -> tuple[Action, ...]:
        """It did not. Alive but wedged counts as dead after `misses` in a row."""
        if self.state != "ready" or self._gave_up:
            return ()
        self._misses += 1
        if self._misses < self.policy.misses:
            return ()
        self._gave_up = True
        self.detail = f"did not answer {self._misses} times in a row"
        return (Action.KILL,)

    def progressed(self, detail: str, percent: int = 0) -> tuple[Action, ...]:
        if self.state == "starting" and not self._gave_up:
            self.detail = detail[:DETAIL_CHARS]
            self.percent = percent
        return ()

    def ended(self, end: Ended, now: float, *, jitter: float) -> tuple[Action, ...]:
        """The process is gone. `jitter` in [0, 1) spreads the restarts of many children."""
        if self.state == "stopping":
            if self._start_again:
                return self._spawn(now)
            self._enter("stopped", now)
            return ()
        if self.state not in ALIVE:
            return ()
        return self._crashed(end, now, jitter)

    def tick(self, now: float) -> tuple[Action, ...]:
        """A deadline has passed: call it at `wake_at` or later; earlier calls do nothing."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        self.wake_at = None
        if self.state == "backing_off":
            return self._spawn(now)
        if self.state == "starting":
            self._gave_up = True
            last = f": {self.detail}" if self.detail else ""
            self.detail = f"not ready after {self.policy.start_timeout_s:g} s{last}"
        return (Action.KILL,)

    # --- transitions ------------------------------------------------------------------------

    def _spawn(self, now: float) -> tuple[Action, ...]:
        self._enter("starting", now)
        self.wake_at = now + self.policy.start_timeout_s
        self._start_again = False
        self._gave_up = False
        return (Action.SPAWN,)

    def _end(self, now: float, timeout_s: float) -> tuple[Action, ...]:
        self._enter("stopping", now)
        self.wake_at = now + timeout_s
        return (Action.TERMINATE,)

    def _crashed(self, end: Ended, now: float, jitter: float) -> tuple[Action, ...]:
        if self.state == "ready" and now - self.since >= self.policy.window_s:
            self._failures = 0  # it had run long enough to count as healthy
        reason = self.detail if self._gave_up else describe(end)
        if end.cannot_boot or end.status == EXIT_CANNOT_BOOT:
            self._enter("failed", now, detail=reason)
            return ()
        while self._crashes and now - self._crashes[0] >= self.policy.window_s:
            self._crashes.popleft()
        if len(self._crashes) >= self.policy.restarts:
            times = f"{self.policy.restarts} restarts in {self.policy.window_s:g} s did not help"
            self._enter("failed", now, detail=f"{times}; last time it {reason}")
            return ()
        self._crashes.append(now)
        self.restarts += 1
        self._enter("backing_off", now, detail=reason)
        self.wake_at = now + self._delay_s(jitter)
        self._failures += 1
        return ()

    def _delay_s(self, jitter: float) -> float:
        exponential = self.policy.backoff_first_s * 2.0 ** min(self._failures, 30)
        return min(exponential * (1.0 + jitter), self.policy.backoff_cap_s)

    def _forgive(self) -> None:
        self._failures = 0
        self._crashes.clear()

    def _enter(self, state: State, now: float, *, detail: str = "") -> None:
        self.state = state
        self.since = now
        self.detail = detail[:DETAIL_CHARS]
        self.percent = 0
        self.wake_at = None


def describe(end: Ended) -> str:
    """One sentence on one line: how it ended, the last it said, and what to do.

    Whom a signal from outside ends has said nothing about it.
    """
    if end.status is None:
        how = "could not be started"
    elif end.status == EXIT_CANNOT_BOOT or end.cannot_boot:
        how = "cannot start as configured"
    elif end.status < 0:
        how = f"was ended by {_signal_name(-end.status)}"
    else:
        how = f"ended by itself with status {end.status}"
    words = "" if -(end.status or 0) in FROM_OUTSIDE else end.words.strip()
    said = f": {words.splitlines()[-1].strip()[: DETAIL_CHARS // 2]}" if words else ""
    return f"{how}{said}{f' ({end.hint})' if end.hint else ''}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
