"""Keras layers that stand where a model is cut."""

from typing import Any

import keras
import tensorflow as tf

from keras_split.compression import rules as quantizations
from keras_split.compression.quantize import dequantize
from keras_split.compression.quantize import quantize
from keras_split.compression.quantize import simulate
from keras_split.compression.rules import Quantization
from keras_split.compression.topk import positions_of
from keras_split.defenses.arguments import SENT
from keras_split.defenses.chain import INFERENCE
from keras_split.defenses.chain import Chain
from keras_split.defenses.chain import Moment
from keras_split.errors import DefenseError


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

    With `defenses` it also does what the phone does before it sends. For the
    draws of a split model, take `client.defenses`, and let each layer say
    which of the phone's tensors it stands for.

    Args:
        quantization: A `Quantization`, its config, or a name such as
            `"int8"`. `"float32"` makes the layer the identity, at no cost.
        defenses: Defenses, their names, or a `keras_split.defenses.Chain`.
            With any that apply here, the layer counts its training steps.
        where: Which cut this is: `"smashed"` behind the head, whose
            activations the phone sends, or `"features_grad"` before the
            tail, whose gradients it sends.
        tensor: Which one of the tensors of that cut.
        **kwargs: What every Keras layer takes, such as `name`.

    Raises:
        QuantizationError: If there is no such quantization; when called, if
            the input is not a float or has an unknown axis behind the batch.
        DefenseError: If there is no such defense, or no such `where`.

    Example:
    >>> x = tf.constant([[0.0, -1.0, 0.6]])
    >>> CutQuantizer("int2")(x).numpy()
    array([[ 0.        , -1.0666667 ,  0.53333336]], dtype=float32)
    """

    def __init__(
        self,
        quantization: str | Quantization | dict[str, Any] = "int8",
        defenses: Any = (),
        where: str = "smashed",
        tensor: int = 0,
        **kwargs: Any,
    ) -> None:
        # A cut must not turn a half-precision model's tensors to float32.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        if where not in SENT:
            raise DefenseError(
                f"Expected where to be one of {', '.join(SENT)}. Received: "
                f"where={where!r}. Take 'smashed' behind the head."
            )
        self.quantization = quantizations.get(quantization)
        self.defenses = Chain.get(defenses)
        self.where = where
        self.tensor = tensor
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes the counter of steps, if a defense draws from it."""
        if self.defenses.applies(self.where):
            self.step = self.add_weight(
                name="step",
                shape=(),
                dtype="int32",
                initializer="zeros",
                trainable=False,
            )

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> Any:
        """Returns `inputs` as the other party sees them."""
        inputs = tf.convert_to_tensor(inputs)
        defended = self.defenses.applies(self.where)
        if self.quantization.is_identity and not defended:
            return inputs
        moment = INFERENCE
        if training and defended:
            moment = Moment(tf.identity(tf.convert_to_tensor(self.step)))
            self.step.assign(self.step + 1)
        x = inputs
        if self.where == "smashed":
            x = self.defenses.apply(inputs, self.where, self.tensor, moment)
        return self._cross(x, inputs.dtype, moment)

    def _cross(self, x: tf.Tensor, dtype: tf.DType, moment: Moment) -> Any:
        """What the other party sees of `x`, as `dtype`."""
        rules = self.quantization
        forward, back = rules.activations, rules.gradients
        shape = tuple(x.shape[1:])

        @tf.custom_gradient
        def cross(x: tf.Tensor) -> Any:
            positions = None
            if forward.block > 1:
                sent = quantize(x, forward)
                positions = positions_of(sent.codes, forward, shape)

            def grad(upstream: tf.Tensor) -> tf.Tensor:
                upstream = tf.ensure_shape(upstream, x.shape)
                if self.where == "features_grad":
                    upstream = self.defenses.apply(
                        upstream, self.where, self.tensor, moment
                    )
                return tf.cast(simulate(upstream, back, positions), x.dtype)

            if x.dtype != dtype:  # a defense made it float32
                sent = quantize(x, forward)
                return dequantize(sent, forward, shape, dtype), grad
            return tf.identity(simulate(x, forward)), grad

        return cross(x)

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
        if self.defenses:
            config["defenses"] = self.defenses.get_config()
            config |= {"where": self.where, "tensor": self.tensor}
        return config
