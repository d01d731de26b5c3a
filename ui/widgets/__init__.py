"""Widgets: each shows a state and posts messages. None knows the client."""
