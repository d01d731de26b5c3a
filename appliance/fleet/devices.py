"""What the inference library computes with, asked of a process that ends at once.

The library is native code with drivers below it; what crashes there must not be the appliance.
Where the system shows no GPU at all nothing is started, for that costs a third of a second.
"""

import subprocess
import sys
from pathlib import Path

import msgspec

from appliance.errors import SluiceError, Unavailable
from appliance.supervisor.environment import current_environment
from appliance.supervisor.guard import own_command
from appliance.worker.offload import Device, usable

ASK_TIMEOUT_S = 20.0
NODES = ("nvidia[0-9]*", "dri/render*", "kfd")


def gpus(named: str = "") -> tuple[Device, ...]:
    """The GPUs with memory of their own, each once however many backends see it, or the named one.

    Empty when the library cannot say.
    """
    if sys.platform.startswith("linux") and not any(
        any(Path("/dev").glob(pattern)) for pattern in NODES
    ):
        return ()
    try:
        return tuple(one for one in usable(devices(), named) if one.kind == "gpu")
    except SluiceError:
        return ()


def devices() -> tuple[Device, ...]:
    """All that computes here, the CPU too. Raises Unavailable when the library cannot say."""
    try:
        return msgspec.json.decode(_listing(), type=tuple[Device, ...])
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        raise Unavailable(
            f"the inference library does not start: {error}",
            hint="run `sluice devices` to see what it says, and install Sluice again",
            reason="library_broken",
            facts={"detail": error},
        ) from None


def _listing() -> bytes:
    return subprocess.run(
        own_command("devices"),
        capture_output=True,
        timeout=ASK_TIMEOUT_S,
        env=current_environment({}),
        stdin=subprocess.DEVNULL,
        check=True,
    ).stdout
