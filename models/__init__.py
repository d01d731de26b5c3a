"""Weights: what may be fetched, how it gets here whole, and where it is kept."""
