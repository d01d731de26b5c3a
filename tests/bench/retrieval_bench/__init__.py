"""How well the FAQ finds what is asked, on public data sets used as FAQs, through the real path.

    PYTHONPATH=tests/bench python -m retrieval_bench DATA --cache FOLDER [--full] [--only NAME,...]

Training phrasings become the phrasings of entries, test questions are asked of the very
`Retrieval` that serves people, over a real Valkey. Vectors are those of the starter embedding
model, kept in the cache folder, and searched exactly in memory: what Milvus adds is time, which
`--latency` measures on the real server. DATA holds `banking77/`, `clinc150/` and `xquad/` as
their authors publish them.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the appliance itself
