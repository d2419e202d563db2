"""A tf_keras model that rounds as int8 does, and learns to live with it.

The fake quantization is that of tensorflow-model-optimization, but for
kernels and for the ranges of activations, which a brief fit cannot wait for.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.litert.tf_keras_bridge import Twin
from keras_split.litert.tf_keras_bridge import flat
from keras_split.utils import keras_private

_REFUSED = re.compile(r"[Ll]ayer (\S+?):<class")
_RANGE_BATCHES = 8
_JUDGES = 5  # each fifth batch is not trained on, but judges the others
# What tensorflow-model-optimization can round the outputs of.
_ACTIVATIONS = {
    "linear",
    "relu",
    "swish",
    "silu",
    "gelu",
    "softmax",
    "sigmoid",
    "tanh",
}

Batch = tuple[list[Any], list[Any]]
Ranges = dict[tuple[str, str], tuple[float, float]]


@dataclass(frozen=True)
class Fit:
    """What quantization-aware training did to one half.

    Attributes:
        before: Error of the outputs with fake quantization, relative to the
            spread of the float outputs, before training; on a fifth of the
            batches, which are not trained on.
        after: The same behind the best epoch. If none lowers it, the weights
            stay, and this is `before`.
        float_layers: Layers that tensorflow-model-optimization cannot
            quantize; they were trained around, as floats.
    """

    before: float
    after: float
    float_layers: tuple[str, ...] = ()


class FakeQuantized:
    """A twin with fake quantization.

    Attributes:
        quantized: Whether there is any.
        float_layers: Names of the layers that stay without.
    """

    def __init__(self, tfmot: Any, tf_keras: Any, twin: Twin) -> None:
        self._tf_keras = tf_keras
        self._twin = twin
        quantization = tfmot.quantization.keras
        for layer in twin.model.layers:
            # Before, because wrapping copies it: statistics that move would
            # undo what the ranges are made for.
            if isinstance(layer, tf_keras.layers.BatchNormalization):
                layer.trainable = False
        left = set(self._unknown(quantization))
        while True:
            annotated = tf_keras.models.clone_model(
                twin.model,
                clone_function=lambda layer: (
                    layer
                    if layer.name in left
                    else quantization.quantize_annotate_layer(layer)
                ),
            )
            try:
                self._model = quantization.quantize_apply(annotated)
                break
            except (RuntimeError, ValueError, TypeError) as error:
                # It knows more rules than it tells beforehand.
                found = _REFUSED.search(str(error))
                if found is None or found[1] in left:
                    raise ExportError(
                        "Expected a half that tensorflow-model-optimization "
                        f"can quantize. It answered: {error} Cut so that the "
                        "server has this layer, or leave out quantize_aware."
                    ) from error
                left.add(found[1])
        for layer in self._model.layers:
            kernels = keras_private.kernel_quantizers(layer)
            if kernels:
                # tfmot has one range for a depthwise or dense kernel, and
                # sets it in training steps only; files have one a channel.
                keras_private.set_kernel_quantizers(
                    layer,
                    [
                        (weight, _KernelRounding(layer.layer), {})
                        for weight, _, _ in kernels
                    ],
                )
        self.float_layers = [
            f"{twin.layers[name].name!r} ({type(twin.layers[name]).__name__})"
            for name in left
        ]
        self.quantized = any(
            layer.weights and name not in left
            for name, layer in twin.layers.items()
        )

    def _unknown(self, quantization: Any) -> list[str]:
        """Names of layers that cannot be annotated."""
        keras_layers = self._tf_keras.layers
        registry = quantization.default_8bit.Default8BitQuantizeRegistry()
        convolutions = (
            keras_layers.Conv2D,
            keras_layers.DepthwiseConv2D,
            keras_layers.Dense,
        )
        found = []
        for layer in self._twin.model.layers:
            if isinstance(layer, keras_layers.InputLayer):
                continue
            activation = getattr(layer, "activation", None)
            known = registry.supports(layer) and (
                activation is None or activation.__name__ in _ACTIVATIONS
            )
            if isinstance(layer, keras_layers.BatchNormalization):
                before = flat(layer.inbound_nodes[0].inbound_layers)
                known = isinstance(before[0], convolutions)
            if not known:
                found.append(layer.name)
        return found

    def run(
        self, batches: list[Batch], epochs: int, learning_rate: float
    ) -> tuple[Fit, list[tuple[Any, list[np.ndarray[Any, Any]]]]]:
        """Trains; returns what it did, and the new weights of each layer.

        No weights if none were better.
        """
        model = self._model
        self._set_ranges(self._ranges(batches[:_RANGE_BATCHES]))
        spread = [
            float(np.concatenate([y[i] for _, y in batches]).var()) or 1.0
            for i in range(len(batches[0][1]))
        ]
        error = _relative_error(spread)
        # What repeats the examples it was fitted to may miss others.
        judges = batches[::_JUDGES]
        fitted = [b for i, b in enumerate(batches) if i % _JUDGES] or judges
        before = self._error(judges, error)
        rate = self._tf_keras.optimizers.schedules.CosineDecay(
            learning_rate, max(epochs * len(fitted), 1)
        )
        optimizer = self._tf_keras.optimizers.Adam(rate)
        variables = model.trainable_variables

        @tf.function(autograph=False)
        def step(x: list[tf.Tensor], y: list[tf.Tensor]) -> None:
            with tf.GradientTape() as tape:
                loss = error(flat(model(x, training=True)), y)
            gradients = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))

        after, weights = before, []
        order = np.random.default_rng(0)
        for _ in range(epochs):
            for i in order.permutation(len(fitted)):
                step(*fitted[i])
            found = self._weights()
            reached = self._error(judges, error)
            if reached < after:
                after, weights = reached, found
        return Fit(before, after, tuple(self.float_layers)), weights

    def _ranges(self, batches: list[Batch]) -> Ranges:
        """Smallest and largest output of each layer of the float twin.

        Once behind its activation ("post") and once before it ("pre"), where
        a softmax, for one, is rounded.
        """
        outputs = {}
        for layer in self._twin.model.layers:
            outputs[layer.name, "post"] = flat(layer.output)
            outputs[layer.name, "pre"] = flat(self._before_activation(layer))
        probe = self._tf_keras.Model(
            self._twin.model.inputs, flat(list(outputs.values()))
        )

        @tf.function(autograph=False)
        def extremes(x: list[tf.Tensor]) -> tf.Tensor:
            made = flat(probe(x, training=False))
            return tf.stack(
                [(tf.reduce_min(t), tf.reduce_max(t)) for t in made]
            )

        found = np.stack([extremes(x).numpy() for x, _ in batches])
        lowest, highest = found[..., 0].min(0), found[..., 1].max(0)
        ranges, start = {}, 0
        for key, tensors in outputs.items():
            part = slice(start, start + len(tensors))
            start += len(tensors)
            ranges[key] = (
                min(float(lowest[part].min()), 0.0),
                max(float(highest[part].max()), 0.0),
            )
        return ranges

    def _before_activation(self, layer: Any) -> Any:
        """A layer's output without its activation."""
        if isinstance(layer, self._tf_keras.layers.Activation):
            return layer.input
        activation = getattr(layer, "activation", None)
        if activation is None or activation.__name__ in ("linear", "relu"):
            return layer.output
        config = layer.get_config()
        config |= {"activation": "linear", "name": f"{layer.name}_linear"}
        plain = type(layer).from_config(config)
        output = plain(layer.input)
        plain.set_weights(layer.get_weights())
        return output

    def _set_ranges(self, ranges: Ranges) -> None:
        """Sets the ranges of activations.

        They would start at 6 and move slowly: what a brief fit would learn
        are wrong ranges.
        """
        sources = [layer.name for layer in self._twin.model.layers]
        inputs = iter(
            name
            for name in sources
            if name not in self._twin.layers  # input layers
        )
        for layer in self._model.layers:
            name = layer.name.removeprefix("quant_")
            if layer.name.startswith("quantize_layer"):
                name = next(inputs)
            if (name, "post") not in ranges:
                continue
            for variable in layer.weights:
                last = _last(variable)
                side = "pre" if last.startswith("pre_") else "post"
                lowest, highest = ranges[name, side]
                if "kernel" in last:
                    continue  # not used, see _KernelRounding
                if last.endswith("_min"):
                    variable.assign(tf.fill(variable.shape, lowest))
                if last.endswith("_max"):
                    variable.assign(tf.fill(variable.shape, highest))

    def _error(
        self, batches: list[Batch], error: Callable[..., tf.Tensor]
    ) -> float:
        @tf.function(autograph=False)
        def measure(x: list[tf.Tensor], y: list[tf.Tensor]) -> tf.Tensor:
            return error(flat(self._model(x, training=False)), y)

        return float(np.mean([measure(x, y) for x, y in batches]) ** 0.5)

    def _weights(self) -> list[tuple[Any, list[np.ndarray[Any, Any]]]]:
        """New values of every layer's weights, in Keras 3's order."""
        trained = {layer.name: layer for layer in self._model.layers}
        found = []
        for name, layer in self._twin.layers.items():
            if not layer.weights:
                continue
            twin = trained.get(f"quant_{name}", trained.get(name))
            # The wrapper holds kernels itself, so only names tell.
            by_name = (
                {} if twin is None else {_last(w): w for w in twin.weights}
            )
            # In tf_keras' words: Keras 3 calls a `depthwise_kernel` `kernel`.
            names = [_last(w) for w in self._twin.model.get_layer(name).weights]
            values = [
                by_name[own].numpy()
                for own in names[: len(layer.weights)]
                if own in by_name
            ]
            if [v.shape for v in values] != [w.shape for w in layer.weights]:
                raise ExportError(
                    f"Expected the weights of {layer.name!r} back from "
                    "tensorflow-model-optimization. Received: "
                    f"{sorted(by_name)}. Cut so that the server has this "
                    "layer, or leave out quantize_aware."
                )
            if not all(np.isfinite(v).all() for v in values):
                raise ExportError(
                    "Expected finite weights after quantization-aware "
                    f"training. Received: NaN or infinity in {layer.name!r}. "
                    "Nothing was changed; lower learning_rate."
                )
            found.append((layer, values))
        return found


class _KernelRounding:
    """Rounds a kernel as int8 files do: symmetric, a range for each channel.

    The gradient passes unchanged. Stands where tfmot has a `Quantizer`.
    """

    def __init__(self, layer: Any) -> None:
        kind = type(layer).__name__
        self._inner = {
            "DepthwiseConv2D": [0, 1],
            "Conv2DTranspose": [0, 1, 3],
        }.get(kind)

    def __call__(
        self, kernel: tf.Tensor, training: bool, weights: Any, **_: Any
    ) -> tf.Tensor:
        axes = self._inner or list(range(len(kernel.shape) - 1))
        largest = tf.reduce_max(tf.abs(kernel), axes, keepdims=True)
        scale = tf.maximum(largest / 127.0, 1e-12)
        rounded = tf.round(kernel / scale) * scale
        return kernel + tf.stop_gradient(rounded - kernel)


def _last(variable: Any) -> str:
    """A variable's own name: `kernel` of `quant_conv/kernel:0`."""
    return str(variable.name).split("/")[-1].partition(":")[0]


def _relative_error(spread: list[float]) -> Callable[..., tf.Tensor]:
    """Squared error over the outputs' variance, averaged over outputs."""

    def error(made: list[tf.Tensor], expected: list[tf.Tensor]) -> tf.Tensor:
        parts = [
            tf.reduce_mean(tf.square(a - b)) / s
            for a, b, s in zip(made, expected, spread, strict=True)
        ]
        return tf.add_n(parts) / len(parts)

    return error
