"""The networks of the paper's page, whole and cut, as .tflite that train.

    python _paper_networks.py NETWORK WAY SIZE BATCH PATH

WAY is `whole` or the name of a cut. Run as a script, for what a conversion
takes of memory is given back when a process ends. Beside the file stands a
.facts.json with what its network is.
"""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WHOLE = "whole"
# Deeper ones of two families, that are no presets; they are cut where the
# first of their family is.
FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "resnet50": ("resnet101", "resnet152"),
        "densenet121": ("densenet169", "densenet201"),
    }
)
_BUILDERS = {
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "densenet169": "DenseNet169",
    "densenet201": "DenseNet201",
}
CLASSES = 10


def preset_of(network: str) -> str:
    """The preset that a network is cut like."""
    for preset, deeper in FAMILIES.items():
        if network in deeper:
            return preset
    return network


def build(network: str, size: int) -> Any:
    """The whole network, with random weights."""
    import keras

    from keras_split import zoo

    shape = (size, size, 3)
    if network in _BUILDERS:
        keras.utils.set_random_seed(0)
        builder = getattr(keras.applications, _BUILDERS[network])
        return builder(input_shape=shape, classes=CLASSES, weights=None)
    return zoo.get(network).build(input_shape=shape, classes=CLASSES, seed=0)


def halves(network: str, size: int, cut: str, quantization: str) -> Any:
    """`(client, server)` of a network that is cut where its preset is."""
    import keras_split
    from keras_split import zoo

    return keras_split.compile(
        build(network, size),
        cut=zoo.get(preset_of(network)).layers(cut),
        quantization=quantization,
        fused_batchnorm=True,
    )


def optimizer() -> Any:
    """Of all."""
    import keras

    return keras.optimizers.SGD(1e-3, momentum=0.9)


def layer_inputs(model: Any) -> int:
    """Elements of what the layers with weights take in, each tensor once.

    A backward needs them, so that whoever computes nothing twice keeps them.
    """
    from keras_split.partition import costs
    from keras_split.partition.graph import Graph

    kept = {
        id(tensor): costs.elements(tensor.shape)
        for call in Graph(model).calls
        if getattr(call.operation, "trainable_variables", None)
        for tensor in call.inputs
    }
    return sum(kept.values())


def write(network: str, way: str, size: int, batch: int, path: Path) -> None:
    """Writes the .tflite, and beside it what its network is."""
    import _whole_phone

    from keras_split.partition import costs

    if way == WHOLE:
        models = [build(network, size)]
        _whole_phone.export(models[0], path, batch, optimizer())
    else:
        client, _ = halves(network, size, way, "int8")
        client.compile(optimizer(), "sparse_categorical_crossentropy")
        client.export(path, batch_size=batch)
        models = [client.head, client.tail]
    facts = {
        "parameters": sum(model.count_params() for model in models),
        "multiply_adds": sum(map(costs.multiply_adds, models)),
        "layer_inputs": sum(map(layer_inputs, models)),
        "file_bytes": path.stat().st_size,
    }
    path.with_suffix(".facts.json").write_text(json.dumps(facts))


def main() -> None:
    """Writes one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("way")
    parser.add_argument("size", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("path", type=Path)
    options = parser.parse_args()
    write(**vars(options))


if __name__ == "__main__":
    main()
