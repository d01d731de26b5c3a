"""How well the simulator predicts a live run: `make bench-simulator`.

A whole appliance with a real model is asked a few questions from which the constants of the worker
model follow (`fit`). Then requests of mixed sizes come at random, and what happened to them is
compared with what `sluice simulate` makes of the very same arrivals. Nothing of the live run is
given to the simulator but when each request came, how many prompt tokens were not in the cache,
and how many tokens were answered.
"""
