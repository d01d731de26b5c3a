"""The llama.cpp shared library: its compute backends, its devices and its voice.

The library is built with its compute backends apart, one for each kind of CPU and GPU, so one
build serves all machines; they must be loaded, the best CPU variant first, before any model.
Everything here is state of the whole process because it is so in the library.

Traps: `libggml.so` must not be opened by its own path. The linker takes that for another file
than the `libggml.so.0` which libllama has loaded, and the process then has two registries, one
of them empty. And the binding's own log callback prints to standard error; ours replaces it.
"""

import ctypes
import functools
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llama_cpp import llama_cpp as binding

from appliance.errors import CannotBoot

log = logging.getLogger(__name__)

COMPLAINTS_KEPT = 20
# ggml_log_level: none, debug, info, warn, error, continued. What the library calls info is a
# hundred lines per model, so it is debugging to us.
_LEVELS = {
    1: logging.DEBUG,
    2: logging.DEBUG,
    3: logging.WARNING,
    4: logging.ERROR,
}
_DEVICE_KINDS: dict[int, Literal["cpu", "gpu", "integrated"]] = {1: "gpu", 2: "integrated"}


@dataclass(frozen=True, slots=True)
class Device:
    """Something that computes. `memory_bytes` is its free memory, as the driver says."""

    name: str
    description: str
    kind: Literal["cpu", "gpu", "integrated"]
    memory_bytes: int


class Library:
    """The loaded library. Use `load_library`; there is one per process."""

    def __init__(self) -> None:
        self.complaints: deque[str] = deque(maxlen=COMPLAINTS_KEPT)
        self._line = ""
        self._level = logging.DEBUG
        # The library keeps the bare pointer: this reference keeps the callback alive.
        self._callback = binding.llama_log_callback(self._hear)
        binding.llama_log_set(self._callback, ctypes.c_void_p(0))
        # The functions of ggml-base and ggml are found through libllama, which links to both.
        self._ggml: Any = binding._lib  # an untyped ctypes library
        self._declare()
        self._load_backends()
        binding.llama_backend_init()

    def devices(self) -> list[Device]:
        """What this machine computes with, as far as there is a backend for it."""
        found = []
        for index in range(self._ggml.ggml_backend_dev_count()):
            handle = self._ggml.ggml_backend_dev_get(index)
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            self._ggml.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
            found.append(
                Device(
                    name=self._ggml.ggml_backend_dev_name(handle).decode(errors="replace"),
                    description=self._ggml.ggml_backend_dev_description(handle).decode(
                        errors="replace"
                    ),
                    kind=_DEVICE_KINDS.get(self._ggml.ggml_backend_dev_type(handle), "cpu"),
                    memory_bytes=free.value,
                )
            )
        return found

    def device_handle(self, name: str) -> int:
        """The library's own pointer to a device. Raises CannotBoot for one that is not there."""
        handle = self._ggml.ggml_backend_dev_by_name(name.encode())
        if not handle:
            known = ", ".join(device.name for device in self.devices())
            raise CannotBoot(f"there is no device {name}", hint=f"this machine has: {known}")
        return int(handle)

    @property
    def build(self) -> str:
        """Version and commit of the library."""
        return f"{binding.llama_version().decode()} {self._ggml.ggml_commit().decode()}"

    def _declare(self) -> None:
        pointer, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)
        for name, result, arguments in (
            ("ggml_commit", ctypes.c_char_p, []),
            ("ggml_backend_load_all_from_path", None, [ctypes.c_char_p]),
            ("ggml_backend_dev_count", ctypes.c_size_t, []),
            ("ggml_backend_dev_get", pointer, [ctypes.c_size_t]),
            ("ggml_backend_dev_by_name", pointer, [ctypes.c_char_p]),
            ("ggml_backend_dev_name", ctypes.c_char_p, [pointer]),
            ("ggml_backend_dev_description", ctypes.c_char_p, [pointer]),
            ("ggml_backend_dev_type", ctypes.c_int, [pointer]),
            ("ggml_backend_dev_memory", None, [pointer, size, size]),
        ):
            function = getattr(self._ggml, name)
            function.restype, function.argtypes = result, arguments

    def _load_backends(self) -> None:
        """Load compute backends, unless the library has them built in."""
        if self._ggml.ggml_backend_dev_count() == 0:
            self._ggml.ggml_backend_load_all_from_path(str(_backend_directory()).encode())
        if self._ggml.ggml_backend_dev_count() == 0:
            raise CannotBoot(
                "llama.cpp has no compute backend that runs on this machine",
                hint="the installation is incomplete: install Sluice again",
            )

    def _hear(self, level: int, text: bytes, _: object) -> None:
        """Takes log text, in pieces of lines, on whichever thread has something to say."""
        self._level = _LEVELS.get(level, self._level)
        self._line += text.decode(errors="replace")
        if not self._line.endswith("\n"):
            return
        line, self._line = self._line.strip(" .\n"), ""
        if not line:
            return
        if self._level >= logging.WARNING:
            self.complaints.append(line)
        log.log(self._level, "%s", line)


@functools.cache
def load_library() -> Library:
    """Load backends and take over the log, once per process. Raises CannotBoot."""
    return Library()


def _backend_directory() -> Path:
    """Where the run-time backends lie: beside the library, or where the wheel's build put them."""
    beside = Path(binding._base_path)
    candidates = (beside, beside.parent.parent / "bin", beside.parent.parent / "lib")
    return next((one for one in candidates if any(one.glob("*ggml-cpu*"))), beside)


def progress_callback(on_progress: Callable[[float], None]) -> Any:
    """A C callback for model loading; keep the reference until loading is done.

    The value is `Any` because ctypes function types have none.
    """

    def report(fraction: float, _: object) -> bool:
        on_progress(fraction)
        return True

    return binding.llama_progress_callback(report)
