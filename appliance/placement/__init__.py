"""Placement: which worker answers an admitted request.

`fleet` is what is known of the workers, `policies` decide, `board` holds the waiting work and
carries decisions out on paper; `prefixes` names what a cache may hold. All of these are pure:
values and a clock in, decisions out. The same classes run live and in the simulator.

Live, `pool` keeps a board for the workers of one model, and `service` is the loop around it.
"""
