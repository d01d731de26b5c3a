"""Admission: who runs now, who waits at which place, who is refused and why.

The rules are pure and synchronous: `core` decides by user, tier, cost, budgets, load and deadline
(with `line` for the order, `fairness` for shares, `tiers` and `budgets` for limits, `estimate` for
times), `windows` holds the two simpler generations, `queue` takes turns. `service` is the loop
that feeds a rule from Valkey and performs what it decides; it talks to access only through Valkey.
"""
