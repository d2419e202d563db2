"""The server: one body and all the sessions that train it."""
