"""What a cut costs, as numbers that a preset carries."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from keras_split.compression import presets
from keras_split.compression.rules import Quantization
from keras_split.compression.shared import Share
from keras_split.compression.tensors import TensorSpec
from keras_split.protocol.contract import Contract

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Facts:
    """What a cut costs at the preset's own sizes and class count.

    Attributes:
        phone_parameters: Parameters of head and tail.
        server_parameters: Parameters of the body.
        phone_multiply_adds: Of head and tail, one forward pass.
        server_multiply_adds: Of the body, one forward pass.
        smashed: Shapes of the tensors from phone to server.
        features: Shapes of the tensors from server to phone.
        shared_bytes: Of the inputs that go to the server as they are, an
            example.
    """

    phone_parameters: int
    server_parameters: int
    phone_multiply_adds: int
    server_multiply_adds: int
    smashed: tuple[tuple[int, ...], ...]
    features: tuple[tuple[int, ...], ...]
    shared_bytes: int = 0

    def bytes_per_sample(
        self,
        quantization: str | Quantization,
        batch: int = 16,
        **frozen: bool,
    ) -> tuple[float, float]:
        """Payload bytes of a training step `(uplink, downlink)` a sample.

        Before the codec, which makes them fewer.

        Args:
            quantization: How tensors lose precision.
            batch: Examples in it.
            **frozen: `frozen_head` and `frozen_body`, as in
                `Contract.bytes_per_sample`.
        """
        coding = presets.get(quantization)

        def specs(shapes: tuple[tuple[int, ...], ...]) -> Any:
            return tuple(TensorSpec("", coding.shape(s)) for s in shapes)

        contract = Contract(
            *("", (), specs(self.smashed), specs(self.features)),
            coding.quantization,
        )
        up, down = contract.bytes_per_sample(batch, **frozen)
        return up + self.shared_bytes, down


@dataclass(frozen=True)
class Cut:
    """A named split of a preset: two cut layers and what they cost."""

    layers: tuple[str, str]
    facts: Facts


def compute_facts(model: "keras.Model", cut: Any, share: Share = ()) -> Facts:
    """Computes the facts of a cut; presets carry them as data.

    Args:
        model: The whole network, as `Preset.build` makes it.
        cut: As in `keras_split.compile`.
        share: Likewise.
    """
    from keras_split.partition import costs
    from keras_split.partition.partition import Partition

    partition = Partition(model, cut, share)
    halves = (partition.head, partition.tail)
    phone = [half.model for half in halves if half is not None]
    body = partition.body.model
    contract = partition.contract(Quantization())
    return Facts(
        phone_parameters=costs.parameters(phone),
        server_parameters=body.count_params(),
        phone_multiply_adds=sum(map(costs.multiply_adds, phone)),
        server_multiply_adds=costs.multiply_adds(body),
        smashed=tuple(s.shape for s in contract.smashed),
        features=tuple(s.shape for s in contract.features),
        shared_bytes=sum(s.bytes_per_example for s in contract.shared),
    )
