"""Which gradients a step of the body takes, and how those for the phone leave.

The gradients of the smashed data are for the weights of the head. A head that
has none to train needs none: they are neither computed nor sent. Where the
body has none to train either, nothing goes back through it at all.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import tensorflow as tf

if TYPE_CHECKING:
    from keras_split.training.step_graph import CutCodecs

Gradients = Sequence[tf.Tensor | None]


class BodyGradients:
    """The gradients of a body's step, inside its graph.

    Args:
        cut_codecs: The body's cut-layer tensors.
        trained: Its weights that are trained.
        smashed_grad: Whether the head needs those of the smashed data.
        half_precision: Whether some of it is computed in float16.

    Attributes:
        needed: Whether there are any to take.
    """

    def __init__(
        self,
        cut_codecs: "CutCodecs",
        trained: Sequence[Any],
        *,
        smashed_grad: bool,
        half_precision: bool,
    ) -> None:
        self.needed = smashed_grad or bool(trained)
        self._cut_codecs = cut_codecs
        self._trained = trained
        self._wanted = smashed_grad
        self._half_precision = half_precision

    @property
    def dtypes(self) -> list[tf.DType]:
        """Of the parts of the features' gradients that a step waits for."""
        return self._cut_codecs.features_grad.part_dtypes if self.needed else []

    def received(
        self, parts: Sequence[tf.Tensor], features: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Gradients of the features.

        Args:
            parts: Theirs, as they crossed.
            features: Parts of the features.
        """
        if not self.needed:
            return []
        return self._cut_codecs.features_grad.dequantize(
            parts, self._cut_codecs.features.positions(features)
        )

    def sources(
        self, smashed: Sequence[tf.Tensor], values: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """What gradients are taken of: smashed data, if wanted, and weights."""
        return [*(smashed if self._wanted else ()), *values]

    def of(
        self,
        tape: tf.GradientTape,
        targets: Sequence[tf.Tensor],
        sources: Sequence[tf.Tensor],
        output_gradients: Sequence[tf.Tensor],
    ) -> Gradients:
        """The gradients of `sources`; a tape refuses to take none."""
        if not sources:
            return []
        found: Gradients = tape.gradient(
            list(targets),
            list(sources),
            output_gradients=list(output_gradients),
        )
        return found

    def weights(self, found: Gradients) -> Gradients:
        """Of all that were taken, those of the weights."""
        return found[len(found) - len(self._trained) :]

    def smashed(
        self, smashed: Sequence[tf.Tensor], found: Gradients, scale: tf.Tensor
    ) -> list[tf.Tensor]:
        """Those of the smashed data, as they are sent; none if not wanted.

        Args:
            smashed: The smashed data.
            found: All that were taken.
            scale: The factor that is in them.
        """
        made: list[tf.Tensor] = []
        if not self._wanted:
            return made
        for tensor, grad in zip(smashed, found[: len(smashed)], strict=True):
            grad = tf.zeros_like(tensor) if grad is None else grad
            grad = tf.cast(grad, tf.float32) / scale
            if self._half_precision:
                # An overflow makes the body's LossScaleOptimizer skip the
                # step; the phone gets zeros instead of infinities.
                finite = tf.reduce_all(tf.math.is_finite(grad))
                grad = tf.where(finite, grad, tf.zeros_like(grad))
            made.append(grad)
        return made

    def sent(
        self,
        smashed_grad: Sequence[tf.Tensor],
        crossed: Sequence[tf.Tensor | None],
    ) -> list[tf.Tensor]:
        """Parts of what `smashed` gave.

        Args:
            smashed_grad: That.
            crossed: Where values of the smashed data crossed.
        """
        if not self._wanted:
            return []
        return self._cut_codecs.smashed_grad.quantize(smashed_grad, crossed)
