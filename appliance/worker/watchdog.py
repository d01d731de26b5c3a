"""Ends a worker whose engine is stuck: alive but without a step counts as dead.

A call into a native library can hang for ever while every other thread lives, so a thread of its
own looks at the engine's step counter. An engine with work must move it; an idle one is asked for
one token now and then, because only a real token proves that it could. The prompt is one word
without the model's template, so hardly more than that token is computed. It is the same each time
and has a scope of its own, so one idle sequence serves for all. What does not move is ended with
its own exit status: the supervisor starts the worker again, and its requests go on elsewhere.

Time is counted in ticks of this thread, not on a clock: a process that was stopped and goes on
has not been stuck while it was stopped.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from appliance.errors import Overloaded
from appliance.schema.requests import ChatMessage
from appliance.schema.sampling import Sampling
from appliance.worker.engine import Engine
from appliance.worker.gauge import EngineStatus
from appliance.worker.jobs import Finished, Generation, Output, Piece

log = logging.getLogger(__name__)

PROBE_ID = "probe"
TICKS = 10  # in the shorter of the two times
LONGEST_STEP_FACTOR = 4.0
PROBE = Generation(
    request_id=PROBE_ID,
    messages=(ChatMessage(role="user", content="ping"),),
    sampling=Sampling(temperature=0, max_tokens=1),
    scope=PROBE_ID,
    is_bare=True,
)


@dataclass
class Pulse:
    """Judges a series of looks at an engine, `tick_s` apart: a pure rule."""

    tick_s: float
    wedged_after_s: float
    probe_idle_s: float
    _steps: int = -1
    _still_s: float = 0.0

    def look(self, status: EngineStatus, *, probing: bool) -> Literal["well", "probe", "stuck"]:
        """`probing`: a probe was handed to the engine and has not come back."""
        if status.steps != self._steps:
            self._steps, self._still_s = status.steps, 0.0
            return "well"
        self._still_s += self.tick_s
        if status.has_work or probing:
            patience_s = max(self.wedged_after_s, LONGEST_STEP_FACTOR * status.longest_step_s)
            return "stuck" if self._still_s >= patience_s else "well"
        if self._still_s < self.probe_idle_s:
            return "well"
        self._still_s = 0.0
        return "probe"


class Watchdog:
    """Watches one engine. `give_up` hears why, on the watching thread; it ends the process."""

    def __init__(
        self,
        engine: Engine,
        *,
        wedged_after_s: float,
        probe_idle_s: float,
        give_up: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._pulse = Pulse(
            tick_s=min(wedged_after_s, probe_idle_s) / TICKS,
            wedged_after_s=wedged_after_s,
            probe_idle_s=probe_idle_s,
        )
        self._give_up = give_up
        self._probing = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def passed(self, outputs: list[Output]) -> list[Output]:
        """The outputs that are not the probe's."""
        if not self._probing:
            return outputs
        for output in outputs:
            if getattr(output, "request_id", "") == PROBE_ID and not isinstance(output, Piece):
                self._probing = False
                if not isinstance(output, Finished):
                    self._give_up(f"the engine could not make one token: {output}")
        return [output for output in outputs if getattr(output, "request_id", "") != PROBE_ID]

    def _watch(self) -> None:
        while not self._over.wait(self._pulse.tick_s):
            verdict = self._pulse.look(self._engine.status, probing=self._probing)
            if verdict == "stuck":
                self._give_up("the engine has work and makes no step")
                return
            if verdict == "probe":
                self._ask()

    def _ask(self) -> None:
        self._probing = True
        try:
            self._engine.submit(PROBE)
        except Overloaded:  # it is not idle after all
            self._probing = False
