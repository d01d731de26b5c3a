"""The HTTP API, the one door: programs, the terminal UI and other services all come through here.

`gate` decides who may speak at all, `problems` words every error in one shape, and each other
module holds the routes of one kind of thing. Handlers translate; the work is done below.
"""
