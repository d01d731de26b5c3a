"""Sluice: a private question-answering service for an organisation."""

__version__ = "0.1.0"
