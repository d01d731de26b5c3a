"""Whom we talk to: users with attributes and tags, their sessions, and the turns in them."""
