"""The simulator: replays traces on simulated workers with the policies that run live.

`trace` reads, `workload` scales and disturbs, `worker` models continuous batching, `world` is the
virtual clock, `report` and `fairness` measure, `compare` runs the comparisons and writes them.
"""
