"""What a constrained answer may look like: GBNF, JSON schemas, and the machine that follows them.

Pure code without a model, so the API refuses a broken grammar before anything is queued and
both engines follow the same one.
"""
