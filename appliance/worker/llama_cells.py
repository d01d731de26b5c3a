"""Cache cells of one sequence, out of llama.cpp's memory and back into it.

The library's own state format is used, which checks layer count, value types and row sizes, and
finds free cells wherever they are. What it leaves to its caller is done here:

* A restore that fails half-way may leave cells of one of a model's two caches behind; they are
  removed.
* A sliding window keeps, and saves, only the cells that the last token's window covers. A
  sequence cut back by more than that has a hole which the library does not mention: the answer
  would be wrong without any error. So the lowest position must reach back far enough.
* Models with a recurrent state cannot be cut at all; then the library refuses, and so do we.
"""

import ctypes
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as binding

from appliance.worker.backend import Cells

TO_THE_END = -1
NO_FLAGS = 0
_BYTES = ctypes.POINTER(ctypes.c_uint8)


def copy_out(context: int, sequence: int) -> Cells | None:
    """All cells of a sequence; None when there are none or the library cannot."""
    size = int(binding.llama_state_seq_get_size_ext(context, sequence, NO_FLAGS))
    if size == 0 or binding.llama_memory_seq_pos_max(_memory(context), sequence) < 0:
        return None
    cells = np.empty(size, dtype=np.uint8)
    written = binding.llama_state_seq_get_data_ext(
        context, cells.ctypes.data_as(_BYTES), size, sequence, NO_FLAGS
    )
    return cells if written == size else None


def copy_in(context: int, sequence: int, cells: Cells, *, tokens: int, window: int) -> bool:
    """Replace a sequence's cells by saved ones, cut to the first `tokens` of them.

    `window` is the model's sliding window in tokens, 0 when it has none. False leaves the
    sequence empty.
    """
    memory = _memory(context)
    read = binding.llama_state_seq_set_data_ext(
        context, cells.ctypes.data_as(_BYTES), cells.nbytes, sequence, NO_FLAGS
    )
    if read == cells.nbytes and _cut(memory, sequence, tokens=tokens, window=window):
        return True
    binding.llama_memory_seq_rm(memory, sequence, TO_THE_END, TO_THE_END)
    return False


def copy_within(context: int, source: int, target: int, *, tokens: int, window: int) -> bool:
    """Let an empty sequence hold the first cells of another one too, without copying them.

    False leaves it empty: the source does not hold them all any more.
    """
    memory = _memory(context)
    binding.llama_memory_seq_cp(memory, source, target, 0, tokens)
    if _cut(memory, target, tokens=tokens, window=window):
        return True
    binding.llama_memory_seq_rm(memory, target, TO_THE_END, TO_THE_END)
    return False


def _cut(memory: Any, sequence: int, *, tokens: int, window: int) -> bool:
    """Keep the first `tokens`. False when these are not all there that the next token sees."""
    if not binding.llama_memory_seq_rm(memory, sequence, tokens, TO_THE_END):
        return False
    if binding.llama_memory_seq_pos_max(memory, sequence) != tokens - 1:
        return False
    oldest_seen = max(0, tokens - window + 1) if window else 0
    return bool(binding.llama_memory_seq_pos_min(memory, sequence) <= oldest_seen)


def _memory(context: int) -> Any:
    """The context's memory, a pointer of the library."""
    return binding.llama_get_memory(context)
