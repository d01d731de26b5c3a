"""Process supervision: the data directory's lock, the children, and how they end.

Kept empty of imports: `guard` is started as `-m appliance.supervisor.guard` and must be light.
"""
