"""Phones that train one model: who they are, and how they go on together."""
