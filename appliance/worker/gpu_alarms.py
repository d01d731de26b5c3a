"""What to say when a GPU that should compute does not; pure.

Inference on the CPU looks like inference on a GPU, only ten times slower, so nobody notices a
driver that vanished with an upgrade. Whoever set `worker.gpu_layers` to 0 wants no GPU and hears
nothing; a machine that shows no sign of a GPU hears nothing either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.schema.status import Alarm
from appliance.worker.offload import CPU_ONLY, FITTED, Device, Offload

DRIVERS = {
    "vulkan": "install the GPU's Vulkan driver (mesa-vulkan-drivers for AMD and Intel)",
    "cuda": "install NVIDIA's driver, or the version that this CUDA library needs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a worker wanted and found.

    `asked` and `named` are the settings; `gpus` what is usable of them; `silent` the GPU backends
    that are installed and did not start; `nvidia` whether the system shows an NVIDIA GPU.
    `failures` are the reasons why attempts before `used` did not load, `planned` the first one.
    `aborted` is whether the life before this one was: then no GPU was tried.
    """

    asked: int
    named: str = ""
    gpus: Sequence[Device] = ()
    silent: Sequence[str] = ()
    nvidia: bool = False
    planned: Offload = CPU_ONLY
    used: Offload = CPU_ONLY
    failures: Sequence[str] = ()
    aborted: bool = False


NOTHING_ASKED = Seen(asked=0)


def gpu_alarms(seen: Seen) -> tuple[Alarm, ...]:
    """At most one: the first cause explains the rest."""
    if seen.asked == 0 or (seen.used.layers and not seen.failures):
        return ()
    if seen.used.layers:
        return (_partly(seen),)
    if seen.gpus and seen.aborted:
        return (_aborted(seen),)
    if seen.gpus:
        return (_not_used(seen),)
    if seen.silent:
        names = " and ".join(seen.silent)
        return (
            Alarm(
                code="gpu_driver_missing",
                message=f"the {names} backend is installed and finds no driver; "
                "everything runs on the CPU",
                hint=f"{DRIVERS.get(seen.silent[0], 'install its driver')}, "
                "or set worker.gpu_layers = 0",
                facts={"backends": ", ".join(seen.silent)},
            ),
        )
    return _not_found(seen)


def _not_found(seen: Seen) -> tuple[Alarm, ...]:
    if seen.named or seen.asked != FITTED:
        wanted = f"the GPU {seen.named}" if seen.named else f"worker.gpu_layers = {seen.asked}"
        return (
            Alarm(
                code="gpu_not_found",
                message=f"{wanted} is set and there is no such GPU; everything runs on the CPU",
                hint="`sluice doctor` lists what is there; mend worker.device or gpu_layers",
                facts={"wanted": f"worker.device = {seen.named}" if seen.named else wanted},
            ),
        )
    if not seen.nvidia:
        return ()
    return (
        Alarm(
            code="gpu_backend_missing",
            message="an NVIDIA GPU is in this machine and nothing uses it",
            hint="build a backend with `make cuda` or `make vulkan`, or set worker.gpu_layers = 0",
        ),
    )


def _not_used(seen: Seen) -> Alarm:
    reason = seen.failures[-1] if seen.failures else "no layer of the model fits into its memory"
    free = ", ".join(f"{gpu.name} has {gpu.free_bytes / 1e9:.1f} GB free" for gpu in seen.gpus)
    sizes = ", ".join(f"{gpu.name} {gpu.free_bytes / 1e9:.1f} GB" for gpu in seen.gpus)
    return Alarm(
        code="gpu_not_used",
        message=f"everything runs on the CPU: {reason} ({free})",
        hint="free the GPU's memory, lower worker.cache_tokens, or choose a smaller model",
        facts={"gpus": sizes},
    )


def _aborted(seen: Seen) -> Alarm:
    names = ", ".join(gpu.name for gpu in seen.gpus)
    return Alarm(
        code="gpu_aborted",
        message=f"the worker was aborted while it used {names}; everything runs on the CPU",
        hint="update the GPU's driver and start Sluice again, or set worker.gpu_layers = 0",
        facts={"gpus": names},
    )


def _partly(seen: Seen) -> Alarm:
    return Alarm(
        code="gpu_partly_used",
        message=f"{seen.planned.layers} layers did not load on the GPU, {seen.used.layers} did: "
        f"{seen.failures[0]}",
        hint="free the GPU's memory or lower worker.cache_tokens",
        facts={"missing": str(seen.planned.layers), "used": str(seen.used.layers)},
    )
