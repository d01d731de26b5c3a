"""Products of quantised weights and activations, as this machine's CPU library computes them.

The oracle multiplies the dequantised weights in double precision. Activations are whole numbers of
which each 32 reach 127, so they are quantised without a loss and the sums agree but for rounding.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_cpp import llama_cpp as binding

from appliance.worker.llama_library import load_library

CPU = 0  # enum ggml_backend_dev_type
TYPES = {"q4_0": 2, "q5_0": 6, "q8_0": 8, "q4_K": 12, "q5_K": 13, "q6_K": 14}  # enum ggml_type
FLAGS = set(Path("/proc/cpuinfo").read_text().split()) if sys.platform == "linux" else set()
INPUTS, OUTPUTS = 1536, 136  # more than the 1,024 unpacked at a time; 17 groups of eight rows
Matrix = np.ndarray[Any, np.dtype[Any]]


class _Memory(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


@dataclass(frozen=True)
class Ggml:
    """The functions of ggml that a product needs."""

    library: Any
    device: int
    backend: int

    @property
    def plain(self) -> int:
        """The type of buffers that keep weights as they are."""
        return int(self.library.ggml_backend_dev_buffer_type(self.device))

    @property
    def interleaved(self) -> int:
        """The type of buffers that lay the weights of several rows beside each other."""
        registry = self.library.ggml_backend_dev_backend_reg(self.device)
        name = b"ggml_backend_dev_get_extra_bufts"
        found = self.library.ggml_backend_reg_get_proc_address(registry, name)
        extra = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(found)
        for each in extra(self.device):
            if not each or self.library.ggml_backend_buft_name(each) == b"CPU_REPACK":
                return int(each)
        return 0

    @contextmanager
    def context(self) -> Iterator[int]:
        made = self.library.ggml_init(_Memory(1 << 20, None, True))
        try:
            yield made
        finally:
            self.library.ggml_free(made)

    def quantised(self, weights: Matrix, kind: int) -> bytes:
        size = self.library.ggml_row_size(kind, weights.shape[1]) * len(weights)
        packed = ctypes.create_string_buffer(size)
        pointer = weights.ctypes.data
        self.library.ggml_quantize_chunk(kind, pointer, packed, 0, *weights.shape, None)
        return packed.raw

    def computed(self, kind: int, packed: bytes, operand: Matrix, buffer_type: int) -> Matrix:
        """Row numbers as operand: those rows dequantised. Activations: the products, a row each."""
        library = self.library
        rows, columns = operand.shape if operand.dtype == np.float32 else (len(operand), 0)
        with self.context() as fixed, self.context() as moving:
            weights = library.ggml_new_tensor_2d(fixed, kind, INPUTS, OUTPUTS)
            kept = library.ggml_backend_alloc_ctx_tensors_from_buft(fixed, buffer_type)
            library.ggml_backend_tensor_set(weights, packed, 0, len(packed))
            if columns:
                given = library.ggml_new_tensor_2d(moving, 0, columns, rows)
                result = library.ggml_mul_mat(moving, weights, given)
            else:
                given = library.ggml_new_tensor_1d(moving, 26, rows)  # GGML_TYPE_I32
                result = library.ggml_get_rows(moving, weights, given)
            graph = library.ggml_new_graph(moving)
            library.ggml_build_forward_expand(graph, result)
            room = library.ggml_backend_alloc_ctx_tensors_from_buft(moving, self.plain)
            raw = operand.tobytes()
            library.ggml_backend_tensor_set(given, raw, 0, len(raw))
            assert library.ggml_backend_graph_compute(self.backend, graph) == 0
            answer = np.empty((rows, OUTPUTS if columns else INPUTS), np.float32)
            library.ggml_backend_tensor_get(result, answer.ctypes.data, 0, answer.nbytes)
            for buffer in (kept, room):
                library.ggml_backend_buffer_free(buffer)
        return answer


@pytest.fixture(scope="module")
def ggml() -> Ggml:
    if "avx2" not in FLAGS:
        pytest.skip("weights of these types are not interleaved on this CPU")
    load_library()
    library: Any = binding._lib
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
    for name, result, arguments in (
        ("ggml_backend_dev_by_type", pointer, [ctypes.c_int]),
        ("ggml_backend_dev_init", pointer, [pointer, ctypes.c_char_p]),
        ("ggml_backend_dev_backend_reg", pointer, [pointer]),
        ("ggml_backend_dev_buffer_type", pointer, [pointer]),
        ("ggml_backend_buft_name", ctypes.c_char_p, [pointer]),
        ("ggml_backend_reg_get_proc_address", pointer, [pointer, ctypes.c_char_p]),
        ("ggml_init", pointer, [_Memory]),
        ("ggml_free", None, [pointer]),
        ("ggml_row_size", size, [ctypes.c_int, number]),
        (
            "ggml_quantize_chunk",
            size,
            [ctypes.c_int, pointer, pointer, number, number, number, pointer],
        ),
        ("ggml_new_tensor_1d", pointer, [pointer, ctypes.c_int, number]),
        ("ggml_new_tensor_2d", pointer, [pointer, ctypes.c_int, number, number]),
        ("ggml_mul_mat", pointer, [pointer, pointer, pointer]),
        ("ggml_get_rows", pointer, [pointer, pointer, pointer]),
        ("ggml_new_graph", pointer, [pointer]),
        ("ggml_build_forward_expand", None, [pointer, pointer]),
        ("ggml_backend_alloc_ctx_tensors_from_buft", pointer, [pointer, pointer]),
        ("ggml_backend_tensor_set", None, [pointer, ctypes.c_char_p, size, size]),
        ("ggml_backend_tensor_get", None, [pointer, pointer, size, size]),
        ("ggml_backend_graph_compute", ctypes.c_int, [pointer, pointer]),
        ("ggml_backend_buffer_free", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    device = library.ggml_backend_dev_by_type(CPU)
    return Ggml(library, device, library.ggml_backend_dev_init(device, None))


def whole_numbers(rows: int) -> Matrix:
    """Activations that eight bits hold as they are."""
    drawn = np.random.default_rng(rows).integers(-127, 128, (rows, INPUTS)).astype(np.float32)
    drawn[:, ::32] = 127
    return drawn


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_products_are_those_of_the_dequantised_weights(ggml: Ggml, kind: int) -> None:
    weights = np.random.default_rng(1).standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    packed = ggml.quantised(weights, kind)
    dequantised = ggml.computed(kind, packed, np.arange(OUTPUTS, dtype=np.int32), ggml.plain)
    assert np.abs(dequantised - weights).max() < 0.5
    for rows in (1, 2, 3, 4, 5, 11, 64):
        given = whole_numbers(rows)
        expected = given.astype(np.float64) @ dequantised.T.astype(np.float64)
        scale = np.abs(given).astype(np.float64) @ np.abs(dequantised.T).astype(np.float64)
        for buffer_type in (ggml.plain, ggml.interleaved):
            products = ggml.computed(kind, packed, given, buffer_type)
            assert np.all(np.abs(products - expected) < 2e-6 * scale)


@pytest.mark.parametrize("name", TYPES)
def test_a_row_s_products_do_not_depend_on_the_rows_beside_it(ggml: Ggml, name: str) -> None:
    if "avx512f" in FLAGS and name in ("q4_0", "q4_K"):
        pytest.skip("these are products of llama.cpp's own, which round by the number of rows")
    kind = TYPES[name]
    weights = np.random.default_rng(2).standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    packed = ggml.quantised(weights, kind)
    given = np.random.default_rng(3).standard_normal((9, INPUTS)).astype(np.float32)
    together = ggml.computed(kind, packed, given, ggml.interleaved)
    for start, end in ((0, 1), (1, 3), (3, 6), (2, 7)):
        alone = ggml.computed(kind, packed, given[start:end], ggml.interleaved)
        assert np.array_equal(alone, together[start:end])
