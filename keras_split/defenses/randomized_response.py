"""Labels that may be others."""

import math
from typing import Any

import tensorflow as tf

from keras_split.defenses.arguments import number
from keras_split.defenses.chacha import high_bits
from keras_split.defenses.defense import Defense
from keras_split.defenses.defense import register
from keras_split.defenses.key import Key
from keras_split.defenses.release import Release
from keras_split.errors import DefenseError

MOST = 4096  # classes, so that a number of 31 bits is fair to all of them


@register("randomized_response")
class RandomizedResponse(Defense):
    """Trains each example with its label or, by chance, with another.

    Of K classes the label stays with probability

        exp(epsilon) / (exp(epsilon) + K - 1),

    and becomes each other with `1 / (exp(epsilon) + K - 1)` (Warner,
    "Randomized Response", 1965; for K classes and the training of a network
    Ghazi et al., "Deep Learning with Label Differential Privacy", NeurIPS
    2021). Probabilities are integers by 2**32, and the label's is rounded
    down, so that epsilon is not exceeded.

    It acts before the loss: gradients, weights and all that is sent are made
    of the label that was drawn. That is drawn **once for an example**, by the
    phone's secret and the bits of the example's inputs, so that neither
    epochs nor repetitions average it out, and epsilon is that of the whole
    training. What that takes:

    * Inputs that differ from epoch to epoch, because they are augmented, draw
      anew: tell `Accountant` and `PrivacyBudget` with `augmented=True`, which
      then count each epoch.
    * Examples of the very same inputs get the same draw, and count as one.
    * Weights of examples, their order and the choice of them must not depend
      on labels. `fit` refuses weights.
    * It hides labels, from a server that may know the inputs. What a class
      looks like it learns, and so may guess at labels as any classifier does.

    Loss that is logged in a training is that of drawn labels; metrics such as
    accuracy, and all of `evaluate`, are of the true ones and stay here.

    Args:
        epsilon: The largest logarithm of a quotient of probabilities.

    Raises:
        DefenseError: If it is none of that.
    """

    where = ("labels",)

    def __init__(self, epsilon: float) -> None:
        self.epsilon = number("epsilon", epsilon, 0.01, 20, "of privacy", 2.0)

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """Labels that were drawn, one-hot as `x`."""
        classes = int(x.shape[1])
        keep, bits = odds(self.epsilon, classes)
        words = key.words(2)
        # Words are signed.
        stays = words[:, 0] < keep - (1 << 31)
        whole = high_bits(words[:, 1], bits) * (classes - 1)
        step = 1 + high_bits(whole, 32 - bits)
        label = tf.argmax(x, 1, output_type=tf.int32)
        other = tf.math.floormod(label + step, classes)
        drawn = tf.one_hot(tf.where(stays, label, other), classes)
        # Nothing is drawn for a label that is no class.
        return tf.where(tf.reduce_max(x, 1, keepdims=True) > 0, drawn, x)

    def release(self, values: int) -> Release:
        """Epsilon, of a label that is replaced."""
        odds(self.epsilon, values)
        return Release(None, epsilon=self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The one argument."""
        return {"epsilon": self.epsilon}


def odds(epsilon: float, classes: int) -> tuple[int, int]:
    """How often of 2**32 a label stays, and of how many bits another is made.

    A number of that many bits, times the other classes and without its lowest
    bits, chooses one of them: `floor(2**bits / (classes - 1))` times each, or
    once more.

    Raises:
        DefenseError: If there are too few classes or too many.
    """
    if not 2 <= classes <= MOST:
        raise DefenseError(
            f"Expected 2 to {MOST} classes, of which labels are drawn. "
            f"Received: {classes}. Leave randomized_response out."
        )
    bits = 31 - (classes - 1).bit_length()
    least = 2**bits // (classes - 1)
    # keep / (2**32 - keep) <= exp(epsilon) * least / 2**bits
    bound = math.exp(epsilon) * (1 - 1e-12) * least / 2**bits
    return math.floor(2**32 * bound / (1 + bound)), bits
