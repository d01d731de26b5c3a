"""Which GPUs the inference library can use, asked of a process that ends at once.

The library is native code with drivers below it; what crashes there must not be the appliance.
Where the system shows no GPU at all nothing is started, for that costs a third of a second.
"""

import json
import subprocess
import sys
from pathlib import Path

from appliance.supervisor.environment import current_environment
from appliance.supervisor.guard import own_command

ASK_TIMEOUT_S = 20.0
NODES = ("nvidia[0-9]*", "dri/render*", "kfd")


def gpus() -> tuple[str, ...]:
    """Names of the GPUs, as the library names them; empty when it cannot say."""
    if sys.platform.startswith("linux") and not any(
        any(Path("/dev").glob(pattern)) for pattern in NODES
    ):
        return ()
    try:
        asked = subprocess.run(
            own_command("devices"),
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            env=current_environment({}),
            stdin=subprocess.DEVNULL,
            check=True,
        )
        return gpu_names(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def gpu_names(listing: bytes) -> tuple[str, ...]:
    """The GPUs among the devices of `sluice devices`. Raises ValueError for anything else."""
    devices = json.loads(listing)
    if not isinstance(devices, list):
        raise ValueError("not a list of devices")
    return tuple(str(one["name"]) for one in devices if one["kind"] == "gpu")
