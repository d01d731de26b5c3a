"""How long compute threads wait for each other by spinning: long when alone, briefly beside others.

llama.cpp's threads meet at every operation. On a quiet machine it is fastest to spin until the
other one comes. When another program wants a core, the thread waited for has lost its own, and
what spins keeps the core it needs. Measured on two cores with eight answers at once: when quiet,
90 tokens/s with the long spin and 73 to 82 with the short one; beside one busy program 28 and 44.

GNU OpenMP spins a hundredth as long once a process has more OpenMP threads than the machine has
cores, and asks at every wait. So beside busy programs we hold a team of threads that sleep, and
let it go when it is quiet again. Without GNU OpenMP nothing happens here. What libgomp does is in
its `config/linux/wait.h` (`gomp_throttled_spin_count_var`).
"""

import contextlib
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable

import psutil

log = logging.getLogger(__name__)

CROWDED_CORES = 0.25  # wanted by other programs beyond the cores we leave free
QUIET_CORES = 0.10
QUIET_LOOKS = 5  # in a row, before the team is let go
LEAST_S = 0.5  # between two looks; in less time the counters say nothing
IDLE_S = 5.0  # between two looks while nothing is computed


class Crowd:
    """Decides from what others use: pure, one `look` after another."""

    def __init__(self, spare_cores: int) -> None:
        self.crowded = False
        self._spare_cores = spare_cores
        self._quiet = 0

    def look(self, others_cores: float) -> bool:
        """Whether spinning should be short now; `others_cores` since the last look."""
        beyond = others_cores - self._spare_cores
        if beyond > CROWDED_CORES:
            self.crowded, self._quiet = True, 0
        elif beyond > QUIET_CORES:
            self._quiet = 0
        else:
            self._quiet += 1
            self.crowded = self.crowded and self._quiet < QUIET_LOOKS
        return self.crowded


class Spinning:
    """Looks at the machine whenever it is asked to, and holds or lets go the team.

    Call `look` now and then, at every heartbeat say, from one thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._library = _gnu_openmp()
        self._cores = psutil.cpu_count() or 1
        self._crowds: dict[int, Crowd] = {}
        self._at_s = clock()
        self._busy_s, self._own_s = _busy_s(), time.process_time()
        self._release: threading.Event | None = None

    @property
    def short(self) -> bool:
        return self._release is not None

    def look(self, threads: int, *, idle: bool) -> None:
        """`threads` is how many compute threads this worker may use now; `idle`: it uses none."""
        elapsed_s = self._clock() - self._at_s
        if self._library is None or elapsed_s < (IDLE_S if idle else LEAST_S):
            return
        busy_s, own_s = _busy_s(), time.process_time()
        others = (busy_s - self._busy_s - (own_s - self._own_s)) / elapsed_s
        self._at_s, self._busy_s, self._own_s = self._clock(), busy_s, own_s
        spare = max(self._cores - threads, 0)
        if spare not in self._crowds:
            self._crowds = {spare: Crowd(spare)}
        if self._crowds[spare].look(others) != self.short:
            self._toggle(self._library)

    def _toggle(self, library: ctypes.CDLL) -> None:
        if self._release is not None:
            log.debug("the machine is quiet: compute threads spin long again")
            self._release.set()
            self._release = None
            return
        log.debug("other programs are busy: compute threads spin briefly")
        self._release = threading.Event()
        arguments = (library, self._cores + 1, self._release)
        threading.Thread(target=_hold, args=arguments, name="spinning", daemon=True).start()


_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_nothing = _FUNCTION(lambda _: None)


def _hold(library: ctypes.CDLL, threads: int, release: threading.Event) -> None:
    """A team lives, asleep, as long as the thread that first used it."""
    library.GOMP_parallel(_nothing, None, ctypes.c_uint(threads), ctypes.c_uint(0))
    release.wait()


def _gnu_openmp() -> ctypes.CDLL | None:
    """The library that llama.cpp has loaded, None where it uses another or none."""
    if os.environ.get("GOMP_SPINCOUNT") or os.environ.get("OMP_WAIT_POLICY"):
        return None  # somebody has chosen
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libgomp.so.1")
        _ = library.GOMP_parallel
        return library
    return None


def _busy_s() -> float:
    """CPU seconds that all processes of the machine have used."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0)) - float(
        getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    )
