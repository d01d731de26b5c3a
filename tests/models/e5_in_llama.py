"""Run as a program: texts as JSON on standard input; token counts and vectors as JSON out.

A process of its own, so that the test neither shares nor disturbs llama.cpp's global state.
"""

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np

MAX_TOKENS = 512


def load(path: str) -> Any:  # ctypes handles have no types
    libraries = Path(llama.__file__).parent / "lib"
    load_all = llama._lib.ggml_backend_load_all_from_path
    load_all.argtypes = [ctypes.c_char_p]
    load_all.restype = None
    load_all(str(libraries).encode())
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    assert model, "llama.cpp does not load the file"
    return model


def embed(model: Any, context: Any, text: str) -> dict[str, object]:
    encoded = text.encode()
    ids = (llama.llama_token * MAX_TOKENS)()
    vocabulary = llama.llama_model_get_vocab(model)
    count = llama.llama_tokenize(vocabulary, encoded, len(encoded), ids, MAX_TOKENS, True, False)
    batch = llama.llama_batch_init(MAX_TOKENS, 0, 1)
    batch.n_tokens = count
    for index in range(count):
        batch.token[index], batch.pos[index] = ids[index], index
        batch.n_seq_id[index], batch.seq_id[index][0], batch.logits[index] = 1, 0, 1
    assert llama.llama_encode(context, batch) == 0
    width = llama.llama_model_n_embd(model)
    pointer = llama.llama_get_embeddings_seq(context, 0)
    vector = np.ctypeslib.as_array(pointer, shape=(width,)).astype(float)
    llama.llama_batch_free(batch)
    return {"tokens": count, "vector": (vector / np.linalg.norm(vector)).tolist()}


def main() -> None:
    llama.llama_backend_init()
    model = load(sys.argv[1])
    parameters = llama.llama_context_default_params()
    parameters.embeddings = True
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = MAX_TOKENS
    parameters.n_threads = parameters.n_threads_batch = 1
    context = llama.llama_init_from_model(model, parameters)
    json.dump([embed(model, context, text) for text in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
