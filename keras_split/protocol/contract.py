"""What a half of a model knows of how it was cut."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

from keras_split.compression import codecs
from keras_split.compression.codecs import Codec
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec


@dataclass(frozen=True)
class Bucket:
    """What travels for sequences of one of several lengths.

    Attributes:
        length: To which sequences are padded.
        smashed: The tensors that travel from phone to server.
        features: The tensors that travel from server to phone.
        shared: The inputs of the model that travel as they are.
    """

    length: int
    smashed: tuple[TensorSpec, ...]
    features: tuple[TensorSpec, ...]
    shared: tuple[SharedSpec, ...] = ()

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Bucket":
        """From the fields as JSON has them."""
        return cls(
            config["length"],
            _specs(config["smashed"]),
            _specs(config["features"]),
            tuple(map(SharedSpec.from_config, config["shared"])),
        )


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
        codec: The lossless codec: its name, or the `Codec` itself where it
            has other settings than the one of its name.
        labels_on_server: True for a model that is cut once.
        fused_batchnorm: Whether batch normalization trains as one operation,
            see `keras_split.compile`.
        shared: The inputs of the model that travel to the server as they are,
            because whoever cut it said so.
        buckets: What travels for each length of sequences, the shortest
            first, where there are several; the fields above are of the
            longest. They are part of the fingerprint.
        codec_name: What the other party and files call the codec.
    """

    fingerprint: str
    cut: tuple[str, ...]
    smashed: tuple[TensorSpec, ...]
    features: tuple[TensorSpec, ...]
    quantization: Quantization
    codec: str | Codec = field(default="raw", compare=False)
    labels_on_server: bool = False
    fused_batchnorm: bool = False
    shared: tuple[SharedSpec, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    codec_name: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        codec = self.codec
        name = codec.name if isinstance(codec, Codec) else codec
        object.__setattr__(self, "codec_name", name)

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        config = asdict(replace(self, codec=self.codec_name))
        del config["codec_name"]
        for name in ("shared", "buckets"):
            if not config[name]:
                del config[name]
        return config

    @classmethod
    def get(cls, identifier: "Contract | dict[str, Any]") -> "Contract":
        """A contract from itself or from its config."""
        if isinstance(identifier, cls):
            return identifier
        assert isinstance(identifier, dict)
        return cls.from_config(identifier)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Contract":
        """The inverse of `get_config`.

        Raises:
            QuantizationError: If a format is not known here.
            CodecError: If the codec is not known here.
        """
        codecs.get(config["codec"])
        return cls(
            fingerprint=config["fingerprint"],
            cut=tuple(config["cut"]),
            smashed=_specs(config["smashed"]),
            features=_specs(config["features"]),
            quantization=Quantization.from_config(config["quantization"]),
            codec=config["codec"],
            labels_on_server=config["labels_on_server"],
            fused_batchnorm=config.get("fused_batchnorm", False),
            shared=tuple(map(SharedSpec.from_config, config.get("shared", ()))),
            buckets=tuple(map(Bucket.from_config, config.get("buckets", ()))),
        )

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths of sequences, if there are several; ascending."""
        return tuple(bucket.length for bucket in self.buckets)

    def at(self, length: int) -> "Contract":
        """The same for one of the lengths: what a file of that length has.

        Raises:
            KeyError: If it is none of them.
        """
        found = {bucket.length: bucket for bucket in self.buckets}[length]
        return replace(
            self,
            smashed=found.smashed,
            features=found.features,
            shared=found.shared,
            buckets=(),
        )

    def like(self, other: "Contract") -> "Contract":
        """The same for the length that another is of; else as it is."""
        for length in () if other.buckets else self.lengths[:-1]:
            mine = self.at(length)
            if (mine.smashed, mine.features, mine.shared) == (
                other.smashed,
                other.features,
                other.shared,
            ):
                return mine
        return self

    def length_of(self, smashed: Sequence[CutTensor]) -> int:
        """Which of several lengths smashed data is of; 0 if of none.

        Args:
            smashed: It, and shared inputs behind it.
        """
        shapes = [tensor.shape[1:] for tensor in smashed]
        for bucket in self.buckets:
            known = [spec.shape for spec in bucket.smashed]
            known += [spec.shape for spec in bucket.shared]
            if shapes == known:
                return bucket.length
        return 0

    def of(self, smashed: Sequence[CutTensor]) -> "Contract":
        """The same for the length of smashed data; as it is if for none."""
        length = self.length_of(smashed)
        return self.at(length) if length else self

    def reply_limit_bytes(self, batch: int) -> int:
        """More bytes than any honest reply about a batch has, decoded.

        Both of what may come back, at 16 bytes an element: twice those of a
        float64, so that scales and positions have room in any rule.
        """
        elements = sum(
            math.prod(spec.shape) for spec in (*self.smashed, *self.features)
        )
        return (1 << 16) + 16 * batch * elements

    def bytes_per_sample(
        self,
        batch: int = 1,
        *,
        frozen_head: bool = False,
        frozen_body: bool = False,
    ) -> tuple[float, float]:
        """Payload bytes of one training step `(uplink, downlink)` a sample.

        Before the codec. The uplink carries smashed data, shared inputs and,
        in a U shape, gradients of the features; the downlink carries features
        and gradients of the smashed data.

        Args:
            batch: Examples in it.
            frozen_head: Whether the head has no weights to train, so that
                nobody needs gradients of the smashed data.
            frozen_body: Whether the body has none either, so that nobody
                needs gradients of the features.
        """
        forward = self.quantization.activations
        backward = self.quantization.gradients

        def total(specs: tuple[TensorSpec, ...], rule: Rule) -> float:
            return sum(rule.nbytes(batch, s.shape) for s in specs) / batch

        uplink = total(self.smashed, forward)
        uplink += sum(spec.bytes_per_example for spec in self.shared)
        downlink = total(self.features, forward)
        if not frozen_head:
            downlink += total(self.smashed, backward)
        if not (self.labels_on_server or (frozen_head and frozen_body)):
            uplink += total(self.features, backward)
        return uplink, downlink


def _specs(values: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(value["name"], tuple(value["shape"])) for value in values
    )
