"""Asks an operator's rule, within a time limit, and goes on without it when it fails.

`OperatorRule.run` owns the rule's process. A question that is not answered in time costs its
request nothing but that time: the process is killed and started again, and the built-in rule
decides meanwhile. After `FAILURES_MOST` failures in a row the rule is set aside for a while, so
that a broken one does not hold up every arrival. Each change is logged, and `status` says it.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from appliance.errors import CannotBoot
from appliance.limiter.rule import Question, Reply, Verdict
from appliance.schema.status import RuleStatus
from appliance.settings.limiter import Limiter
from appliance.supervisor.environment import current_environment
from appliance.supervisor.guard import own_command

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
END_TIMEOUT_S = 2.0
FAILURES_MOST = 3
HINT = (
    "the rule is a Python file with a function decide(request, view); mend it, or leave "
    "limiter.rule_file empty for the built-in rule"
)


def check_rule(limits: Limiter) -> None:
    """Tries the rule on a sample. Raises CannotBoot with what is wrong; without a rule nothing."""
    if not limits.rule_file:
        return
    path = Path(limits.rule_file).expanduser()
    if not path.is_absolute():
        raise CannotBoot(
            f"limiter.rule_file: {path} is not an absolute path", hint="write the whole path"
        )
    try:
        tried = subprocess.run(
            own_command("rule"),
            input=_boot_line(path),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=current_environment({}),
            timeout=START_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotBoot(
            f"limiter.rule_file: {path} did not answer within {START_TIMEOUT_S:.0f} s", hint=HINT
        ) from None
    wrong = _reply(tried.stdout.partition(b"\n")[0]).error
    if wrong:
        raise CannotBoot(f"limiter.rule_file: {path}: {wrong}", hint=HINT)


@dataclass
class _Asked:
    line: bytes
    answered: "asyncio.Future[Verdict | None]"


@dataclass
class OperatorRule:
    """One rule. `run` is its task; `decide` may be called by one caller at a time."""

    path: Path
    limit_s: float
    pause_s: float
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while its process takes questions."""
    _asked: "asyncio.Queue[_Asked]" = field(default_factory=lambda: asyncio.Queue(maxsize=1))
    _decided: int = 0
    _failures: int = 0
    _in_a_row: int = 0
    _set_aside: bool = False
    _error: str = ""

    @property
    def status(self) -> RuleStatus:
        return RuleStatus(
            file=str(self.path),
            state="set_aside" if self._set_aside else "failing" if self._in_a_row else "in_force",
            decided=self._decided,
            failures=self._failures,
            error=self._error if self._in_a_row else "",
        )

    async def decide(self, question: Question) -> Verdict | None:
        """The rule's verdict; None when it has none, fails, or is not there now."""
        if not self.ready.is_set():
            return None
        answered: asyncio.Future[Verdict | None] = asyncio.get_running_loop().create_future()
        await self._asked.put(_Asked(msgspec.json.encode(question) + b"\n", answered))
        return await answered

    async def run(self) -> None:
        """Keeps the rule's process until cancelled."""
        while True:
            process = await asyncio.create_subprocess_exec(
                *own_command("rule"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=current_environment({}),
                start_new_session=True,
            )
            try:
                await self._serve(process)
            finally:
                self.ready.clear()
                await _killed(process)
            if self._in_a_row >= FAILURES_MOST:
                self._set_aside = True
                log.error("%s is set aside for %.0f s: %s", self.path, self.pause_s, self._error)
                await asyncio.sleep(self.pause_s)
                self._in_a_row = FAILURES_MOST - 1  # one more chance, not three

    # Below: helpers in call order.

    async def _serve(self, process: asyncio.subprocess.Process) -> None:
        """Asks one question after the other; returns when the process must go."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                reply = await _exchanged(process, _boot_line(self.path))
        except TimeoutError:
            reply = Reply(error=f"it was not ready within {START_TIMEOUT_S:.0f} s")
        if reply.error:
            self._failed(reply.error)
            self._in_a_row = FAILURES_MOST  # starting it once more will not mend it
            return
        self._set_aside = False
        self.ready.set()
        while self._in_a_row < FAILURES_MOST:
            asked = await self._asked.get()
            verdict: Verdict | None = None
            try:
                async with asyncio.timeout(self.limit_s):
                    reply = await _exchanged(process, asked.line)
                if reply.error:
                    self._failed(reply.error)
                else:
                    self._decided, self._in_a_row, verdict = self._decided + 1, 0, reply.verdict
            except TimeoutError:
                self._failed(f"it took longer than {1000 * self.limit_s:.0f} ms")
                return
            finally:
                if not asked.answered.done():
                    asked.answered.set_result(verdict)
            if process.returncode is not None or process.stdout is None or process.stdout.at_eof():
                return

    def _failed(self, error: str) -> None:
        self._failures, self._in_a_row, self._error = self._failures + 1, self._in_a_row + 1, error
        log.warning("%s failed, the built-in rule decides: %s", self.path, error)


def rule_of(limits: Limiter) -> OperatorRule | None:
    """The rule the settings name."""
    if not limits.rule_file:
        return None
    path = Path(limits.rule_file).expanduser()
    return OperatorRule(path, limits.rule_timeout_s, limits.rule_pause_s)


def _boot_line(path: Path) -> bytes:
    return msgspec.json.encode(str(path)) + b"\n"


async def _exchanged(process: asyncio.subprocess.Process, line: bytes) -> Reply:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(line)
        await process.stdin.drain()
    try:
        return _reply(await process.stdout.readline())
    except ValueError:
        return Reply(error="it said more than a line")


def _reply(line: bytes) -> Reply:
    if not line:
        return Reply(error="its process ended")
    try:
        return msgspec.json.decode(line, type=Reply)
    except msgspec.MsgspecError:
        return Reply(error="it said what is no verdict")


async def _killed(process: asyncio.subprocess.Process) -> None:
    """Ends the process and all it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_TIMEOUT_S):
            await process.wait()
