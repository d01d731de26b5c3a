"""The inference worker: one engine thread over one backend, and the bus side that feeds it."""
