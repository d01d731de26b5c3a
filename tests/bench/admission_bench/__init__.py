"""Is admission fair and honest, live: `make bench-admission`.

Whole appliances with the fake engine, whose steps last as long as a model's. Two people ask the
same kind of question; one of them sends twenty times as many. Measured are the polite one's waits
against those he has alone, how evenly both were served while both waited, and how true
the first wait was that each request was told. First come, first served stands beside it: the same
load by one and the same user, whom the limiter serves in the order of arrival. With
`--engine llama` the first of these is measured with the starter model.
"""
