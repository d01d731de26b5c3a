"""The forms of FAQ files, one module each; `knowledge.exchange` puts them together."""
