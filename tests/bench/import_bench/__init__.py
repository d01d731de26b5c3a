"""What an import costs those who ask meanwhile: the same questions before, beside and after it.

    PYTHONPATH=tests/bench python -m import_bench [--count 10000] [--held 500] [--asked 150]

A fresh appliance with the real embedding model, Valkey and Milvus Lite holds an FAQ. Somebody asks
over HTTP, one question at a time and with pauses by chance, in words that no entry has: each is
embedded, searched for and decided (`POST /api/faq/test`, which is the way of every question but
for the model's answer). Then a file is imported while the asking goes on. Milliseconds say
something of this machine alone; the ratios of the same run are the figures.
"""
