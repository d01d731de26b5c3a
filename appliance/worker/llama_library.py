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
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from llama_cpp import llama_cpp as binding

from appliance.errors import CannotBoot
from appliance.worker.offload import Device
from appliance.worker.stamp import files_stamp, loaded_from

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
GPU_BACKENDS = ("cuda", "vulkan")  # those that the build can add, see packaging
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_DEVICE_KINDS: dict[int, Literal["cpu", "gpu", "integrated"]] = {1: "gpu", 2: "integrated"}


class _Capabilities(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_bool)
        for name in ("async", "host_buffer", "buffer_from_host_ptr", "events", "mmap_support")
    )


class _Properties(ctypes.Structure):
    """`ggml_backend_dev_props`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("caps", _Capabilities),
    )


class Library:
    """The loaded library. Use `load_library`; there is one per process."""

    def __init__(self) -> None:
        self.complaints: deque[str] = deque(maxlen=COMPLAINTS_KEPT)
        self.is_muted = False
        self.offloaded: int | None = None  # layers the newest model has on GPUs, as it says itself
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
            about = _Properties()
            self._ggml.ggml_backend_dev_get_props(handle, ctypes.byref(about))
            backend = self._ggml.ggml_backend_dev_backend_reg(handle)
            found.append(
                Device(
                    name=about.name.decode(errors="replace"),
                    description=about.description.decode(errors="replace"),
                    kind=_DEVICE_KINDS.get(about.type, "cpu"),
                    backend=self._ggml.ggml_backend_reg_name(backend).decode(errors="replace"),
                    free_bytes=about.memory_free,
                    total_bytes=about.memory_total,
                    id=(about.device_id or b"").decode(errors="replace"),
                )
            )
        return found

    def silent_backends(self) -> tuple[str, ...]:
        """GPU backends that are installed and did not start: their driver is missing."""
        count = self._ggml.ggml_backend_reg_count()
        handles = [self._ggml.ggml_backend_reg_get(index) for index in range(count)]
        started = {self._ggml.ggml_backend_reg_name(handle).decode().lower() for handle in handles}
        installed = {path.stem.partition("ggml-")[2] for path in backend_directory().iterdir()}
        return tuple(name for name in GPU_BACKENDS if name in installed - started)

    def device_handle(self, name: str) -> int:
        """The library's own pointer to a device. Raises CannotBoot for one that is not there."""
        handle = self._ggml.ggml_backend_dev_by_name(name.encode())
        if not handle:
            known = ", ".join(device.name for device in self.devices())
            raise CannotBoot(f"there is no device {name}", hint=f"this machine has: {known}")
        return int(handle)

    def stamp(self, *, on_gpu: bool) -> str:
        """Of the files that compute: 6 MB without a GPU, in 30 ms. Raises OSError."""
        loaded = loaded_from(Path(binding._base_path)) | loaded_from(backend_directory())
        silent = () if on_gpu else tuple(f"ggml-{one}" for one in GPU_BACKENDS)
        return files_stamp(one for one in loaded if not any(part in one.name for part in silent))

    def _declare(self) -> None:
        pointer = ctypes.c_void_p
        for name, result, arguments in (
            ("ggml_backend_load_all_from_path", None, [ctypes.c_char_p]),
            ("ggml_backend_dev_count", ctypes.c_size_t, []),
            ("ggml_backend_dev_get", pointer, [ctypes.c_size_t]),
            ("ggml_backend_dev_by_name", pointer, [ctypes.c_char_p]),
            ("ggml_backend_dev_get_props", None, [pointer, ctypes.POINTER(_Properties)]),
            ("ggml_backend_dev_backend_reg", pointer, [pointer]),
            ("ggml_backend_reg_count", ctypes.c_size_t, []),
            ("ggml_backend_reg_get", pointer, [ctypes.c_size_t]),
            ("ggml_backend_reg_name", ctypes.c_char_p, [pointer]),
        ):
            function = getattr(self._ggml, name)
            function.restype, function.argtypes = result, arguments

    def _load_backends(self) -> None:
        """Load compute backends, unless the library has them built in."""
        if self._ggml.ggml_backend_dev_count() == 0:
            self._ggml.ggml_backend_load_all_from_path(str(backend_directory()).encode())
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
        if not line or self.is_muted:
            return
        offloaded = _OFFLOADED.search(line)
        if offloaded:
            self.offloaded = int(offloaded[1])
        if self._level >= logging.WARNING:
            self.complaints.append(line)
        # What it warns of is about weights and sizes that nobody here can change.
        level = logging.DEBUG if self._level == logging.WARNING else self._level
        log.log(level, "%s", line)


@functools.cache
def load_library() -> Library:
    """Load backends and take over the log, once per process. Raises CannotBoot."""
    return Library()


def backend_directory() -> Path:
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
