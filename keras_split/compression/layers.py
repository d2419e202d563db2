"""Keras layers that stand where a model is cut."""

from typing import Any

import keras
import tensorflow as tf

from keras_split.compression import rules as quantizations
from keras_split.compression.quantize import quantize
from keras_split.compression.quantize import simulate
from keras_split.compression.rules import Quantization
from keras_split.compression.topk import positions_of


@keras.saving.register_keras_serializable(package="keras_split")
class CutQuantizer(keras.layers.Layer):
    """Gives a tensor the precision that it has after crossing the network.

    Forward, it rounds activations with the activations rule. Backward, the
    gradient passes the rounding unchanged (straight-through: Bengio, Léonard
    and Courville, "Estimating or Propagating Gradients Through Stochastic
    Neurons", arXiv 1308.3432), but is itself rounded with the gradients rule.
    So a model with a `CutQuantizer` behind each cut layer trains in one
    process as its halves do over a network.

    The dtype of the input is kept, whatever the layer's dtype policy.

    Args:
        quantization: A `Quantization`, its config, or a name such as
            `"int8"`. `"float32"` makes the layer the identity, at no cost.
        **kwargs: What every Keras layer takes, such as `name`.

    Raises:
        QuantizationError: If there is no such quantization; when called, if
            the input is not a float or has an unknown axis behind the batch.

    Example:
    >>> x = tf.constant([[0.0, -1.0, 0.6]])
    >>> CutQuantizer("int2")(x).numpy()
    array([[ 0.        , -1.0666667 ,  0.53333336]], dtype=float32)
    """

    def __init__(
        self,
        quantization: str | Quantization | dict[str, Any] = "int8",
        **kwargs: Any,
    ) -> None:
        # A cut must not turn a half-precision model's tensors to float32.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.quantization = quantizations.get(quantization)
        self.supports_masking = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `inputs` as the other party sees them."""
        rules = self.quantization

        @tf.custom_gradient
        def cross(x: tf.Tensor) -> Any:
            shape = tuple(x.shape[1:])
            positions = None
            if rules.activations.block > 1:
                sent = quantize(x, rules.activations)
                positions = positions_of(sent.codes, rules.activations, shape)

            def grad(upstream: tf.Tensor) -> tf.Tensor:
                upstream = tf.ensure_shape(upstream, x.shape)
                return simulate(upstream, rules.gradients, positions)

            return tf.identity(simulate(x, rules.activations)), grad

        inputs = tf.convert_to_tensor(inputs)
        if rules.is_identity:
            return inputs
        return cross(inputs)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """The output has the shape and the dtype of the input."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The output has the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The layer's config, with the rules written out."""
        config: dict[str, Any] = super().get_config()
        config["quantization"] = self.quantization.get_config()
        return config
