"""Screens: each turns its widgets' messages into calls, and states into what widgets show."""
