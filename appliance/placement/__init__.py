"""Placement: which worker answers an admitted request.

`fleet` is what is known of the workers, `policies` decide, `board` holds the waiting work and
carries decisions out on paper. All of it is pure: values and a clock in, decisions out. The same
classes run live and in the simulator.
"""
