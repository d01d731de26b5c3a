"""Access: the ten steps of a request (`flow`) and what the model is told (`prompt`)."""
