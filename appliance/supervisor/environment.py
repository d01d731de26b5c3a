"""The environment of a child: built from an allow-list, never inherited.

A variable can load code (LD_PRELOAD, PYTHONPATH) or carry a key, so what is not known to be
needed does not pass. A `.env` file in the current folder is a stranger's: python-dotenv, which
pymilvus calls at import, is switched off.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from appliance.frozen import is_frozen
from appliance.supervisor.guard import PARENT_VARIABLE

ALLOWED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    # Which GPUs may be used, and in which order they are counted:
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
    "MESA_VK_DEVICE_SELECT",
    # Which Vulkan driver, where several are installed or one lies outside the system's folders.
    # They name code to load, as LD_LIBRARY_PATH does, but to the Vulkan loader alone.
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",  # its older name
)
ALLOWED_PREFIXES = ("LC_",)


def child_environment(
    inherited: Mapping[str, str], extras: Mapping[str, str], *, parent_pid: int
) -> dict[str, str]:
    """What passes of `inherited`, then our own settings, then the child's `extras`."""
    # A frozen child gets neither the start program's marks (_PYI_*) nor its library path: it sets
    # both itself, and with the marks alone it would believe that the path is set.
    passed = {
        name: value
        for name, value in inherited.items()
        if name in ALLOWED or name.startswith(ALLOWED_PREFIXES)
    }
    return passed | _ours(parent_pid) | dict(extras)


def current_environment(extras: Mapping[str, str]) -> dict[str, str]:
    """`child_environment` for a child of this very process."""
    return child_environment(os.environ, extras, parent_pid=os.getpid())


def _ours(parent_pid: int) -> dict[str, str]:
    ours = {
        PARENT_VARIABLE: str(parent_pid),
        "PYTHON_DOTENV_DISABLED": "1",
        "PYTHONUTF8": "1",
    }
    if not is_frozen():
        # The child finds this package wherever it runs, and nothing in the folder it runs in.
        ours["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
        ours["PYTHONSAFEPATH"] = "1"
    return ours
