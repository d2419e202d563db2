"""Gradients as long as the longest of their batch, and nothing else hidden."""

from typing import Any

import tensorflow as tf

from keras_split.defenses import norms
from keras_split.defenses.defense import Defense
from keras_split.defenses.defense import register
from keras_split.defenses.key import Key
from keras_split.defenses.key import coarse

_LONGEST = 2.0**40  # what a gradient is lengthened by at most


@register("max_norm")
class MaxNorm(Defense):
    """Lengthens each gradient of the features along itself, at random.

    The heuristic `max_norm` of Li et al., "Label Leakage and Protection in
    Two-party Split Learning" (ICLR 2022), section 4.1. Of the gradients g of
    a batch, each becomes

        (1 + s e) g,  s = sqrt(max |g|**2 / |g|**2 - 1),

    e a number of `Key.normal`, one for an example. So the mean of the squared
    length is that of the longest for all of them, and the gradient is right
    in the mean. It is made against whoever reads labels from a norm. The line
    along which a gradient lies is left as it is, and with more than two
    classes that tells the label: see "Labels" in docs/auditing.md.

    Norms are those of `keras_split.defenses.norms.bound`, rounded up by 1.6 %
    at most, and s is rounded up to 8 significant bits. A gradient of zeros
    stays one. A batch that travels in microbatches has the longest of each of
    them. It is no differential privacy.
    """

    where = ("features_grad",)
    mixes = True

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """`x`, each example times a number."""
        found = norms.bound(x)
        longest = tf.reduce_max(real(found, key))
        ratio = longest / tf.maximum(found, 2.0**-80)
        # 8 bits, so that its square is exact; an example that only fills the
        # batch up may be longer than the longest.
        ratio = coarse(tf.clip_by_value(ratio, 1.0, _LONGEST))
        spread = norms.root_up(tf.square(ratio) - 1.0)
        factor = 1.0 + spread * key.normal(())
        return x * tf.reshape(factor, (-1,) + (1,) * (len(x.shape) - 1))


def real(found: tf.Tensor, key: Key) -> Any:
    """Norms of a batch; 0 for the examples that only fill it up."""
    if key.count is None:
        return found
    numbers = tf.range(tf.cast(tf.shape(found)[0], tf.float32))
    return tf.where(numbers < tf.cast(key.count, tf.float32), found, 0.0)
