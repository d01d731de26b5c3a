"""The bus: the only place that imports redis.

`client` opens connections, `scripts` holds the atomic steps of a request's life, `replies`
is the one blocking reader of a process.
"""
