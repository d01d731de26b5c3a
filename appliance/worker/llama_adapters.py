"""LoRA adapters: small weights laid over a model's own.

They are checked against the model before the native library sees them, loaded with it, and in
force for every request until the worker ends; the library frees them with their model.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path

from llama_cpp import llama_cpp as binding

from appliance.errors import CannotBoot
from appliance.schema.sampling import Adapter
from appliance.worker.llama_library import Library


def lay_over(library: Library, model: int, context: int, adapters: Sequence[Adapter]) -> None:
    """Load adapters and put them in force. Raises CannotBoot with what the library said."""
    pointers = [_loaded(library, model, place(adapter)) for adapter in adapters]
    if not pointers:
        return
    scales = (ctypes.c_float * len(pointers))(*(adapter.scale for adapter in adapters))
    array = (binding.llama_adapter_lora_p_ctypes * len(pointers))(*pointers)
    if binding.llama_set_adapters_lora(context, array, len(pointers), scales) != 0:
        raise CannotBoot("the adapters cannot be put in force", hint="check models.lora")


def place(adapter: Adapter) -> Path:
    return Path(adapter.path).expanduser()


def _loaded(library: Library, model: int, path: Path) -> int:
    library.complaints.clear()
    adapter: int | None = binding.llama_adapter_lora_init(model, str(path).encode())
    if not adapter:
        raise CannotBoot(
            f"the adapter {path} cannot be loaded: {'; '.join(library.complaints) or 'unknown'}",
            hint="use an adapter made for this very model, or take it out of models.lora",
        )
    return adapter
