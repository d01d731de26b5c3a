"""Copies of a data directory: verified archives, backups while running, layouts and upgrades."""
