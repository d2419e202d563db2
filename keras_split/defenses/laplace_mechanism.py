"""Clipping and Laplace noise that have an epsilon."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_split.defenses import lattice
from keras_split.defenses.arguments import number
from keras_split.defenses.defense import register
from keras_split.defenses.key import Key
from keras_split.defenses.mechanism import ROUNDINGS
from keras_split.defenses.mechanism import Mechanism
from keras_split.defenses.release import Release
from keras_split.defenses.release import dp


@register("laplace_mechanism")
class LaplaceMechanism(Mechanism):
    """Clips each example's sum of magnitudes and adds Laplace noise.

    The Laplace mechanism, with an epsilon that `Accountant` says; as
    `GaussianMechanism`, but for the norm. For tensors of few values: the sum
    of magnitudes of n values is up to `sqrt(n)` times their Euclidean norm.

    Values are rounded towards zero, to `lattice.SCALE`, about 16,000, steps a
    scale of the noise, so that rounding moves no two examples apart.

    Args:
        limit: The largest sum of an example's magnitudes.
        scale: The noise's scale, a part of `limit`, for each value: its
            standard deviation is 1.41 times that.
        where: `"smashed"`, `"features_grad"` or both.

    Raises:
        DefenseError: If one of them is none of that.
    """

    order = 1

    def __init__(
        self,
        limit: float,
        scale: float,
        where: str | Sequence[str] = ("smashed",),
    ) -> None:
        super().__init__(limit, where, "in magnitudes")
        self.scale = number("scale", scale, 0.01, 1e4, "times the limit", 1.0)

    @property
    def steps(self) -> float:
        """Steps of the grid in `limit`."""
        return lattice.SCALE / self.scale

    def rounded(self, magnitudes: tf.Tensor) -> tf.Tensor:
        """Down, so towards zero."""
        return tf.floor(magnitudes)

    def drawn(self, key: Key, shape: Sequence[int]) -> tf.Tensor:
        """Numbers of a discrete Laplace distribution."""
        return lattice.laplace(key, shape)

    def release(self, values: int) -> Release:
        """The Laplace mechanism, for an example that is replaced.

        Two examples are at most `2 SCALE / scale` steps apart in magnitudes.
        That one value has all of it is the worst case: the Rényi divergence
        of two Laplace distributions is a convex function of their distance.
        """
        return Release(
            dp().LaplaceDpEvent(self.scale / 2 / ROUNDINGS),
            values * lattice.DISTANCE,
        )

    def get_config(self) -> dict[str, Any]:
        """All arguments."""
        return {
            "limit": self.limit,
            "scale": self.scale,
            "where": list(self.where),
        }
