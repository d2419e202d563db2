"""Keras' losses over the real examples of a batch, in LiteRT builtins."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.utils import keras_private

_EPSILON = 1e-7  # keras.config.epsilon(), where a probability is clipped


class OutputLoss:
    """The loss of one output.

    Args:
        name: Name of the output, for messages.
        loss: What was given to `compile`: a `keras.Loss` or its name.
        weight: Its weight among the losses of other outputs.

    Attributes:
        label_dtype: `"int32"` for class numbers, else `"float32"`.
        accuracy: Whether right answers can be counted.
        from_logits: Whether predictions are logits, as it was told.

    Raises:
        ExportError: If the loss cannot be exported.
    """

    def __init__(self, name: str, loss: Any, weight: float = 1.0) -> None:
        self.loss = _standard(name, loss)
        kind = type(self.loss)
        self.name = keras.utils.get_registered_name(type(self.loss))
        self.name = str(getattr(self.loss, "name", self.name))
        self.weight = weight
        # A class of one's own that is made from one of these is its own.
        self.sparse = kind is keras.losses.SparseCategoricalCrossentropy
        self.binary = kind is keras.losses.BinaryCrossentropy
        self.label_dtype = "int32" if self.sparse else "float32"
        self.accuracy = (
            self.sparse
            or self.binary
            or kind is keras.losses.CategoricalCrossentropy
        )
        # A class of one's own may have no config.
        self.from_logits = self.accuracy and bool(
            self.loss.get_config().get("from_logits")
        )

    def label_shape(self, prediction: Sequence[int]) -> tuple[int, ...]:
        """Shape of one example's label, given that of its prediction."""
        return tuple(prediction[:-1] if self.sparse else prediction)

    def value(
        self,
        labels: tf.Tensor,
        predictions: tf.Tensor,
        weights: tf.Tensor,
        count: tf.Tensor,
    ) -> tf.Tensor:
        """The loss of a batch, as Keras computes it for the real examples.

        Args:
            labels: Shape `(batch, *label_shape)`.
            predictions: Shape `(batch, ...)`.
            weights: Sample weights `(batch,)`, 0 for what is not real.
            count: How many examples are real, a scalar, int32.
        """
        values = self._values(labels, predictions)
        if values.shape[:1] != predictions.shape[:1]:
            raise ExportError(
                "Expected a loss with a row for each example, for those that "
                f"fill a batch up are left out. Received: {self.name!r}, which "
                f"makes {values.shape} of predictions of {predictions.shape}. "
                "Give the model an output of shape (batch, 1), and the loss a "
                "call that leaves the first axis."
            )
        values = _seen(values, predictions)
        weights = tf.reshape(weights, (-1,) + (1,) * (len(values.shape) - 1))
        total = tf.reduce_sum(values * weights)
        positions = float(math.prod(values.shape[1:]))
        if self.loss.reduction == "sum":
            loss = total
        elif self.loss.reduction == "mean_with_sample_weight":
            whole = tf.reduce_sum(weights) * positions
            # Without any, total is 0, and so is what Keras makes of it.
            loss = total / (whole + tf.cast(tf.equal(whole, 0.0), tf.float32))
        else:
            loss = total / (tf.cast(count, tf.float32) * positions)
        return loss * self.weight

    def correct(
        self, labels: tf.Tensor, predictions: tf.Tensor, real: tf.Tensor
    ) -> tf.Tensor:
        """The number of right answers, as Keras' accuracy counts them."""
        if self.sparse:
            right = tf.equal(_best(predictions), labels)
        elif self.binary:
            right = tf.equal(predictions > 0.5, labels > 0.5)
        else:
            right = tf.equal(_best(predictions), _best(labels))
        hits = tf.cast(right, tf.float32)
        places = list(range(1, len(hits.shape)))
        return tf.reduce_sum(tf.reduce_mean(hits, places) * real)

    def _values(self, labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
        """The loss of each example and position."""
        if not self.accuracy:
            # Plain arithmetic; whether it converts is seen later.
            try:
                values: tf.Tensor = self.loss.call(labels, predictions)
            except (TypeError, ValueError, tf.errors.OpError) as error:
                raise ExportError(
                    "Expected a loss of labels and predictions of one shape. "
                    f"Received: {self.name!r}, which cannot take those of "
                    f"{predictions.shape} ({error})."
                ) from error
            return values
        config = self.loss.get_config()
        # Keras' activations leave the logits with their output, and its
        # losses prefer them, because they keep what rounding would lose.
        logits = keras_private.logits_of(predictions)
        if config.get("from_logits"):
            logits = predictions
        smoothing = config.get("label_smoothing") or 0.0
        if self.binary:
            labels = labels * (1.0 - smoothing) + 0.5 * smoothing
            return tf.reduce_mean(_binary(labels, predictions, logits), -1)
        classes = predictions.shape[-1]
        if self.sparse:
            labels = tf.one_hot(labels, classes)
        elif smoothing:
            labels = labels * (1.0 - smoothing) + smoothing / classes
        if logits is not None:
            return _softmax_crossentropy(labels, logits)
        elif self.sparse:
            logs = tf.nn.log_softmax(tf.math.log(_clip(predictions)))
        else:
            shares = tf.reduce_sum(predictions, -1, keepdims=True)
            logs = tf.math.log(_clip(predictions / shares))
        return -tf.reduce_sum(labels * logs, -1)


def _seen(values: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
    """The values, with NaN where a prediction is NaN (or infinity).

    On some CPUs XNNPACK's logarithm of NaN is 88: a loss that no phone would
    refuse.
    """
    known = tf.reduce_all(predictions < math.inf, -1)
    if known.shape != values.shape:  # a loss of one's own
        known = tf.reduce_all(known)
    return tf.where(known, values, tf.fill(values.shape, math.nan))


def _binary(
    labels: tf.Tensor, predictions: tf.Tensor, logits: tf.Tensor | None
) -> tf.Tensor:
    if logits is None:
        yes = tf.math.log(_clip(predictions))
        no = tf.math.log(1.0 - _clip(predictions))
        return -(labels * yes + (1.0 - labels) * no)

    @tf.custom_gradient
    def crossentropy(logits: tf.Tensor) -> Any:
        rest = tf.math.log(1.0 + tf.exp(-tf.abs(logits)))
        loss = tf.nn.relu(logits) - logits * labels + rest
        # At 0 as well, where those of Relu and Abs are not it.
        return loss, lambda grad: grad * (tf.sigmoid(logits) - labels)

    return crossentropy(logits)


def _softmax_crossentropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """With TensorFlow's gradient, which takes labels to sum to 1."""

    @tf.custom_gradient
    def crossentropy(logits: tf.Tensor) -> Any:
        loss = -tf.reduce_sum(labels * tf.nn.log_softmax(logits), -1)

        def gradient(grad: tf.Tensor) -> tf.Tensor:
            return grad[..., tf.newaxis] * (tf.nn.softmax(logits) - labels)

        return loss, gradient

    return crossentropy(logits)


def _standard(name: str, loss: Any) -> keras.Loss:
    """The loss as an object, checked."""
    if loss is None:
        raise ExportError(
            f"Expected a loss for the output {name!r}. Received: none. Call "
            "client.compile(optimizer, loss) before client.export, or pass "
            'mode="infer".'
        )
    try:
        found = keras.losses.get(loss)
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"Expected a keras.Loss for the output {name!r}. Received: "
            f"{loss!r}. Pass an object such as "
            "keras.losses.MeanSquaredError(), one for each output."
        ) from error
    if not isinstance(found, keras.Loss):
        # By name Keras returns a function; its class has the same name.
        given = getattr(found, "__name__", str(found))
        wanted = given.replace("_", "")
        for candidate in vars(keras.losses).values():
            if (
                isinstance(candidate, type)
                and issubclass(candidate, keras.Loss)
                and candidate.__name__.lower() == wanted
                and getattr(keras.losses, given, None) is found
            ):
                found = candidate()
                break
        else:
            raise ExportError(
                f"Expected a keras.Loss for the output {name!r}. Received: "
                f"the function {given!r}. Pass an object such as "
                "keras.losses.MeanSquaredError()."
            )
    try:
        config = found.get_config()
    except Exception:  # of one's own, which nobody can save
        config = {}
    problem = ""
    if type(found).__call__ is not keras.Loss.__call__:
        problem = "a __call__ of its own"
    elif found.reduction in (None, "none"):
        problem = "reduction=None"
    elif config.get("axis", -1) != -1:
        problem = f"axis={config['axis']}"
    elif config.get("ignore_class") is not None:
        problem = f"ignore_class={config['ignore_class']}"
    if problem:
        raise ExportError(
            f"Expected a loss over the last axis with a reduction. Received: "
            f"{type(found).__name__}({problem}) for the output {name!r}. "
            "Give such examples a sample weight of 0 instead."
        )
    return found


def _best(scores: tf.Tensor) -> tf.Tensor:
    return tf.argmax(scores, -1, output_type=tf.int32)


def _clip(probabilities: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(probabilities, _EPSILON, 1.0 - _EPSILON)
