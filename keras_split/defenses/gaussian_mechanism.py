"""Clipping and Gaussian noise that have an epsilon."""

import math
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


@register("gaussian_mechanism")
class GaussianMechanism(Mechanism):
    """Clips each example to a norm and adds noise of that norm's size.

    The Gaussian mechanism, with an epsilon that `Accountant` says. An example
    is clipped to `limit` (see `Clip`, for gradients as well), rounded to a
    grid with `lattice.STEPS`, about 10,900, steps a standard deviation, and a
    discrete Gaussian is added. All of it is whole numbers, so nothing is lost
    to the last bits of floats, and every runtime does the same.

    Gradients of the smashed data are those of the clipping, and pass noise
    and rounding as they are.

    Args:
        limit: The largest Euclidean norm of an example.
        sigma: The noise's standard deviation, a part of `limit`, for each
            value: an example of n values gets noise of length
            `sqrt(n) * sigma * limit`.
        where: `"smashed"`, `"features_grad"` or both.

    Raises:
        DefenseError: If one of them is none of that.
    """

    def __init__(
        self,
        limit: float,
        sigma: float,
        where: str | Sequence[str] = ("smashed",),
    ) -> None:
        super().__init__(limit, where, "in norm")
        self.sigma = number("sigma", sigma, 0.01, 1e4, "times the limit", 1.0)

    @property
    def steps(self) -> float:
        """Steps of the grid in `limit`."""
        return lattice.STEPS / self.sigma

    def rounded(self, magnitudes: tf.Tensor) -> tf.Tensor:
        """To the nearest whole numbers."""
        return tf.round(magnitudes)

    def drawn(self, key: Key, shape: Sequence[int]) -> tf.Tensor:
        """Numbers of a discrete Gaussian."""
        return lattice.gaussian(key, shape)

    def release(self, values: int) -> Release:
        """The Gaussian mechanism, for an example that is replaced.

        In steps of the grid, two examples are at most
        `2 (STEPS / sigma + sqrt(values) / 2)` apart: twice the limit, and a
        half for each value that is rounded. Its Rényi divergences are not
        above those of a continuous Gaussian (Canonne, Kamath and Steinke,
        2020, Proposition 5).
        """
        apart = 2 * lattice.STEPS / self.sigma * ROUNDINGS + math.sqrt(values)
        return Release(
            dp().GaussianDpEvent(lattice.STEPS / apart),
            values * lattice.DISTANCE,
        )

    def get_config(self) -> dict[str, Any]:
        """All arguments."""
        return {
            "limit": self.limit,
            "sigma": self.sigma,
            "where": list(self.where),
        }
