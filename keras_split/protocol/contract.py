"""What a half of a model knows of how it was cut."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.tensors import TensorSpec


@dataclass(frozen=True)
class Contract:
    """What a half of a model knows of how it was cut.

    Two halves train together if they agree on it, but for
    `fused_batchnorm`: that is each half's own affair and does not travel.

    Attributes:
        fingerprint: Hash of architecture, variable shapes and cut; not of
            weight values.
        cut: The cut layers as the user named them.
        smashed: The tensors that travel from phone to server.
        features: The tensors that travel from server to phone.
        quantization: How those four kinds of tensors lose precision.
        codec: Name of the lossless codec.
        labels_on_server: True for a model that is cut once.
        fused_batchnorm: Whether batch normalization trains as one operation,
            see `keras_split.compile`.
    """

    fingerprint: str
    cut: tuple[str, ...]
    smashed: tuple[TensorSpec, ...]
    features: tuple[TensorSpec, ...]
    quantization: Quantization
    codec: str = "raw"
    labels_on_server: bool = False
    fused_batchnorm: bool = False

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def get(cls, identifier: "Contract | dict[str, Any]") -> "Contract":
        """A contract from itself or from its config."""
        if isinstance(identifier, cls):
            return identifier
        assert isinstance(identifier, dict)
        return cls.from_config(identifier)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Contract":
        """The inverse of `get_config`."""

        def specs(values: Any) -> tuple[TensorSpec, ...]:
            return tuple(
                TensorSpec(value["name"], tuple(value["shape"]))
                for value in values
            )

        return cls(
            fingerprint=config["fingerprint"],
            cut=tuple(config["cut"]),
            smashed=specs(config["smashed"]),
            features=specs(config["features"]),
            quantization=Quantization.from_config(config["quantization"]),
            codec=config["codec"],
            labels_on_server=config["labels_on_server"],
            fused_batchnorm=config.get("fused_batchnorm", False),
        )

    def bytes_per_sample(self, batch: int = 1) -> tuple[float, float]:
        """Payload bytes of one training step `(uplink, downlink)` a sample.

        Before the codec. The uplink carries smashed data and, in a U shape,
        gradients of the features; the downlink carries features and
        gradients of the smashed data.
        """
        forward = self.quantization.activations
        backward = self.quantization.gradients

        def total(specs: tuple[TensorSpec, ...], rule: Rule) -> float:
            return sum(rule.nbytes(batch, s.shape) for s in specs) / batch

        uplink = total(self.smashed, forward)
        downlink = total(self.features, forward)
        downlink += total(self.smashed, backward)
        if not self.labels_on_server:
            uplink += total(self.features, backward)
        return uplink, downlink
