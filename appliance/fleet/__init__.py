"""Which model runs on which worker: seats, what may be asked for, loading and unloading."""
