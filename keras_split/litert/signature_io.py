"""Names and shapes of what goes into the signatures of a file and comes out.

docs/on-the-phone.md is the contract that these follow.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_split.compression.cut import client_cuts
from keras_split.compression.cut_codec import CutCodec
from keras_split.defenses.chain import Moment
from keras_split.litert import silent
from keras_split.litert.half import PhoneHalf

Tensors = dict[str, tf.Tensor]
Specs = dict[str, tf.TensorSpec]


class SignatureIO:
    """Both ends of a client, seen from the middle.

    Args:
        client: The phone's half, cut twice.

    Attributes:
        smashed: What the head sends.
        features: What the tail gets.
        features_grad: What the tail sends.
        smashed_grad: What the head gets.
        shared: Packs the inputs that the server gets.
        skips: Which outputs of the head go to the tail.
        read: Inputs of the model that are read at all: their places among all.
        head_inputs: Those that the head reads, by number among those read.
        tail_inputs: Those that the tail reads.
    """

    def __init__(self, client: PhoneHalf) -> None:
        assert client.tail is not None
        contract, wiring = client.contract, client.wiring
        smashed, features = contract.smashed, contract.features
        cuts = client_cuts(
            smashed,
            features,
            contract.quantization,
            leaves=[t.dtype for t in client.head.outputs[: len(smashed)]],
            arrives=[t.dtype for t in client.tail.inputs[: len(features)]],
            defenses=client.defenses,
            shared=contract.shared,
        )
        self.smashed, self.features = cuts.smashed, cuts.features
        self.features_grad = cuts.features_grad
        self.smashed_grad = cuts.smashed_grad
        self.shared = self.smashed.shared
        # Those that no layer reads are none of a file's.
        self.read = sorted({*wiring.head_inputs, *wiring.tail_inputs})
        head_reads = [self.read.index(n) for n in wiring.head_inputs]
        tail_reads = [self.read.index(n) for n in wiring.tail_inputs]
        self._sharing = [head_reads[i] for i in wiring.shared]
        self._head = client.head
        self.skips = list(wiring.skips)
        self._skipping = [client.head.outputs[i] for i in self.skips]
        behind = len(contract.features) + len(self.skips)
        self.head_inputs = dict(
            zip(head_reads, client.head.inputs, strict=True)
        )
        self.tail_inputs = dict(
            zip(tail_reads, client.tail.inputs[behind:], strict=True)
        )

    @property
    def inputs(self) -> dict[int, keras.KerasTensor]:
        """All inputs that are read, by number, in order."""
        found = self.tail_inputs | self.head_inputs
        return {i: found[i] for i in sorted(found)}

    def leaving(
        self, made: list[tf.Tensor], given: Tensors, moment: Moment
    ) -> Tensors:
        """What the head sends at that moment, and what stays for the tail.

        Args:
            made: Outputs of the head.
            given: Inputs of the signature, of which some may be shared.
            moment: When it is sent.
        """
        parts = self.smashed.quantize(self.defended(made, moment))
        shared = self.shared.pack(self.sharing(given))
        return {
            **named("smashed", self.smashed, parts),
            **{f"shared_{i}_codes": part for i, part in enumerate(shared)},
            **{f"skip_{i}": made[n] for i, n in enumerate(self.skips)},
        }

    def sharing(self, given: Mapping[str, Any]) -> list[Any]:
        """The inputs of a signature of the head that the server gets."""
        return [given[f"x_{n}"] for n in self._sharing]

    def check_skips(self, made: list[tf.Tensor]) -> None:
        """Refuses what goes from head to tail with a mask.

        Raises:
            ExportError: If there is such a thing.
        """
        skipping = [
            made[i] if i in self.skips else None for i in range(len(made))
        ]
        silent.check_masks(self._head, skipping, "that the tail would heed")

    def defended(
        self, made: list[tf.Tensor], moment: Moment
    ) -> list[tf.Tensor]:
        """Outputs of the head that are sent, after the defenses."""
        return self.smashed.defend(made[: len(self.smashed.specs)], moment)

    def arriving(self, given: Tensors) -> list[tf.Tensor]:
        """Inputs of the tail: features, skips and inputs of the model."""
        parts = [given[name] for name in part_names("features", self.features)]
        return [
            *self.features.dequantize(parts),
            *(given[f"skip_{i}"] for i in range(len(self.skips))),
            *(given[f"x_{n}"] for n in self.tail_inputs),
        ]

    def left(self, defended: list[tf.Tensor]) -> list[tf.Tensor | None]:
        """Where values of what was sent crossed, for their gradients."""
        return self.smashed.positions(self.smashed.quantize(defended))

    def arrived(self, given: Tensors) -> list[tf.Tensor | None]:
        """Where values of the features crossed, for their gradients."""
        names = part_names("features", self.features)
        return self.features.positions([given[name] for name in names])

    def head_specs(self, size: int) -> Specs:
        """What the head reads, in a batch of `size`."""
        return _specs("x", self.head_inputs, size)

    def tail_specs(self, size: int) -> Specs:
        """What the tail reads."""
        return (
            part_specs("features", self.features, size)
            | self.skip_specs("skip", size)
            | _specs("x", self.tail_inputs, size)
        )

    def skip_specs(self, name: str, size: int) -> Specs:
        """Tensors of the shapes of the skips."""
        return _specs(name, dict(enumerate(self._skipping)), size)


def part_names(prefix: str, crossing: CutCodec) -> list[str]:
    """Names of the parts of a crossing, in their order."""
    kinds = ["codes", "scales"] if crossing.rule.has_scales else ["codes"]
    return [
        f"{prefix}_{i}_{kind}"
        for i in range(len(crossing.specs))
        for kind in kinds
    ]


def named(prefix: str, crossing: CutCodec, parts: list[Any]) -> dict[str, Any]:
    """The parts of a crossing by name."""
    return dict(zip(part_names(prefix, crossing), parts, strict=True))


def part_specs(prefix: str, crossing: CutCodec, size: int) -> Specs:
    """What the parts of a crossing look like in a batch of `size`."""
    rule = crossing.rule
    specs: Specs = {}
    for i, spec in enumerate(crossing.specs):
        codes = (size, rule.codes_per_example(spec.shape))
        specs[f"{prefix}_{i}_codes"] = tf.TensorSpec(codes, rule.code_dtype)
        if rows := rule.scale_rows(size, spec.shape):
            specs[f"{prefix}_{i}_scales"] = tf.TensorSpec((rows, 2))
    return specs


def _specs(prefix: str, tensors: dict[int, Any], size: int) -> Specs:
    return {
        f"{prefix}_{n}": tf.TensorSpec((size, *tensor.shape[1:]), tensor.dtype)
        for n, tensor in tensors.items()
    }
