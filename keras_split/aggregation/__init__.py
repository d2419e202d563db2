"""Vectors of many phones into one: means, masks, shares of a step."""
