"""The steps of both halves: the only room with gradients in it."""
