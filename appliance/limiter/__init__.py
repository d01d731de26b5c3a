"""Admission: who runs now, who waits at which place, who is refused and why.

`queue` is the rule, pure and synchronous; `service` is the loop that feeds it from Valkey and
performs what it decides. It talks to access only through Valkey.
"""
