"""A defense from outside the package, with public names alone.

Its gradient depends on what it drew, so a backward that draws anything else
than its forward goes astray.
"""

import keras_split


@keras_split.defenses.register("scaled")
class Scaled(keras_split.defenses.Defense):
    """Multiplies each value by a number from 0.5 to 1.5."""

    where = ("smashed", "features_grad")

    def apply(self, x, key, where):
        return x * (0.5 + key.uniform(x.shape[1:]))
