"""Length prediction: how many tokens an answer will have, before it is made.

`features` turns what is known of a request into numbers, `model` is a linear model that learns
from each finished answer, and `lengths` keeps it: predicts, learns, stores it in Valkey, and says
how right it has been. The limiter reserves and orders by it, placement prices with it, and the
expected wait is made of it.
"""
