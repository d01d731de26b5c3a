"""Sluice beside llama-server: the same engine source, model, prompts and threads, over HTTP.

`make bench-engine` builds llama-server from the source distribution that carries our llama.cpp
(`build`), starts both in turn (`peers`), lets the same simulated people ask both (`workloads`,
`load`), and prints ratios (`report`, `chart`). Both servers run the very same shared libraries.
It measures the whole product path (HTTP, limiter, Valkey, worker) against a lone server.

Nothing here runs in `make test` but the unit tests of its pure parts. Linux only: it reads /proc.
"""
