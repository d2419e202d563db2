"""The signs of gradients, all of one length."""

import math

import numpy as np
import tensorflow as tf

from keras_split.defenses import norms
from keras_split.defenses.defense import Defense
from keras_split.defenses.defense import register
from keras_split.defenses.key import Key
from keras_split.defenses.key import coarse


@register("sign")
class Sign(Defense):
    """Sends no more of the features' gradients than the sign of each value.

    Every value of a gradient g becomes

        sign(g) * mean(|g|) / sqrt(values),

    the norms' mean over the batch, and that quotient cut to 8 significant
    bits. So all gradients without zeros have one length, that of the batch's
    in the mean: signSGD (Bernstein et al., ICML 2018) with a scale, where
    `MaxNorm` makes lengths alike in the mean. No noise is drawn. Signs are a
    direction, and that tells the label.

    A batch that travels in microbatches has the mean of each of them. It is
    no differential privacy.
    """

    where = ("features_grad",)
    mixes = True

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """The signs of `x`, times a number."""
        found = norms.bound(x)
        count = tf.size(found, tf.int32) if key.count is None else key.count
        mean = norms.mean(found, tf.cast(count, tf.float32))
        each = 1 / math.sqrt(math.prod(x.shape[1:]))
        return tf.sign(x) * coarse(mean * np.float32(each))
