"""What is known of a file, in plain values."""

from collections.abc import Iterable
from typing import Any

from keras_split.errors import CodecError
from keras_split.errors import QuantizationError
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.moment import Moment

Facts = dict[str, Any]


def of_moment(config: dict[str, Any] | None) -> Facts:
    """Which moment of which training something is of."""
    moment = Moment.get(config)
    return {"run": moment.run, "step": moment.steps} if moment else {}


def of_contract(config: dict[str, Any]) -> Facts:
    """Where a model was cut, and what crosses there."""
    about: Facts = {
        "cut": list(config["cut"]),
        "fingerprint": config["fingerprint"],
        "labels": "on the server" if config["labels_on_server"] else "stay",
        "codec": config["codec"],
    }
    try:
        contract = Contract.from_config(config | {"codec": "raw"})
    except (QuantizationError, CodecError):
        # Of an extension that is not here.
        return about | {"quantization": config["quantization"]}
    forward = contract.quantization.activations
    uplink, downlink = contract.bytes_per_sample()
    crossing = [
        {
            "tensor": spec.name,
            "direction": direction,
            "shape": list(spec.shape),
            "bytes_per_sample": forward.nbytes(1, spec.shape),
        }
        for direction, specs in (
            ("up", contract.smashed),
            ("down", contract.features),
        )
        for spec in specs
    ]
    if contract.lengths:
        about["lengths"] = list(contract.lengths)
    if contract.shared:
        about["shared_inputs"] = [spec.name for spec in contract.shared]
        crossing += [
            {
                "tensor": spec.name,
                "direction": "up",
                "shape": list(spec.shape),
                "bytes_per_sample": spec.bytes_per_example,
            }
            for spec in contract.shared
        ]
    return about | {
        "quantization": str(contract.quantization),
        "crossing": crossing,
        "training_bytes_per_sample": {"up": uplink, "down": downlink},
    }


def of_data(config: dict[str, Any] | None) -> Facts:
    """Classes and preprocessing."""
    spec = DataSpec.get(config)
    about: Facts = {}
    if spec.class_names:
        about["classes"] = list(spec.class_names)
    if spec.matrix:
        about["preprocessing"] = {
            "matrix": [list(row) for row in spec.matrix],
            "offset": list(spec.offset),
        }
    return about


def of_optimizer(config: Any) -> Facts:
    """Name and learning rate of an optimizer, from its config."""
    if not isinstance(config, dict):
        return {"optimizer": config} if config else {}
    inner = config.get("config", {})
    rate = inner.get("learning_rate")
    if isinstance(rate, dict):
        rate = rate.get("class_name")
    return {"optimizer": config.get("class_name"), "learning_rate": rate}


def total(shapes: Iterable[tuple[int, ...]]) -> int:
    """How many numbers some arrays have."""
    count = 0
    for shape in shapes:
        size = 1
        for n in shape:
            size *= int(n)
        count += size
    return count
