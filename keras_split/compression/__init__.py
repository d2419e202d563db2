"""How cut-layer tensors lose precision, once, and become few bytes."""
