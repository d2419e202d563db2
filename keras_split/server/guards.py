"""What a session lets through to the body, and how large."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.protocol import gradient_norm
from keras_split.protocol import validation
from keras_split.protocol.messages import Backward
from keras_split.utils.counted import counted

if TYPE_CHECKING:
    from keras_split.compression.cut_codec import CutCodec
    from keras_split.training.server_step import ServerHalf


@dataclass(frozen=True)
class GradientLimits:
    """What a session accepts, beside what the contract says.

    Attributes:
        max_grad_norm: Gradients of the features with a larger norm are
            refused.
        clip_grad_norm: Those with a larger norm are scaled down to it; None
            for as they are.
        max_batch: Examples of a batch, however it travels.
        max_smashed_norm: Smashed data of a message with a larger norm are
            refused. No honest model meets it: 10^8 are ten million numbers
            of 30,000 each.
    """

    max_grad_norm: float = 1e6
    clip_grad_norm: float | None = None
    max_batch: int = 1024
    max_smashed_norm: float = 1e8


class Guard:
    """Holds tensors of a client against the contract and the limits.

    Args:
        half: The body that they are for.
        limits: What is accepted beside what its contract says.

    Attributes:
        limits: The same.
    """

    def __init__(self, half: "ServerHalf", limits: GradientLimits) -> None:
        self.limits = limits
        self._half = half

    def smashed(self, tensors: list[CutTensor]) -> int:
        """Checks smashed data, and returns of how many examples it is.

        Shared inputs come behind it.

        Raises:
            ProtocolError: If they are not what the contract says, or larger
                than is accepted.
        """
        contract = validation.check_length(tensors, self._half.contract)
        rule, limit = contract.quantization.activations, self.limits
        count = len(contract.smashed) if contract.shared else len(tensors)
        shared = tensors[count:]
        tensors = tensors[:count]
        batch = validation.check_tensors(tensors, contract.smashed, rule)
        if contract.shared:
            validation.check_shared(shared, contract.shared, batch)
            validation.check_ids(shared, contract.shared, self._half.rows)
        if gradient_norm.bound(tensors, rule) > limit.max_smashed_norm:
            norm = _norm(self._half.cut_codecs.smashed, tensors)
            validation.check_smashed_norm(norm, limit.max_smashed_norm)
        return batch

    def batch(self, examples: int = 0) -> None:
        """Refuses a batch of more examples than are allowed.

        Raises:
            ProtocolError: With reason `"size"`.
        """
        if examples > self.limits.max_batch:
            raise ProtocolError(
                f"Expected a batch of at most {self.limits.max_batch} "
                f"examples, in microbatches too. Received: {examples}. Use a "
                "smaller batch, or raise the server's --max-batch.",
                "size",
            )

    def features(self, tensors: Sequence[CutTensor]) -> None:
        """Refuses to send what the body made of weights that have diverged.

        Raises:
            ProtocolError: With reason `"not-finite"`.
        """
        rule = self._half.contract.quantization.activations
        for tensor in tensors:
            if not validation.is_finite(tensor, rule):
                raise validation.diverged(repr(tensor.name))

    def features_grad(
        self,
        message: Backward,
        smashed: Sequence[CutTensor],
        smashed_grad: bool = True,
    ) -> None:
        """Checks gradients of the features, and the learning rate.

        Args:
            message: Has them; none need be there where nothing is trained.
            smashed: What its forward brought.
            smashed_grad: Whether the head trains.

        Raises:
            ProtocolError: If they are not what the contract says, or of
                another number of examples.
        """
        validation.check_learning_rate(message.learning_rate)
        if not (message.tensors or smashed_grad) and self._half.frozen:
            return
        contract = self._half.contract.of(smashed)
        expected = smashed[0].shape[0]
        batch = validation.check_tensors(
            message.tensors, contract.features, contract.quantization.gradients
        )
        if batch != expected:
            raise ProtocolError(
                f"Expected gradients of the {counted(expected, 'example')} of "
                f"step {message.step}. Received: {counted(batch, 'example')}.",
                "shape",
            )

    def clipped(
        self, tensors: list[CutTensor], share: float = 1.0
    ) -> list[CutTensor]:
        """Keeps the norm of gradients within the limits.

        Args:
            tensors: The gradients.
            share: What part of the batch they are of. With its root as their
                part of the limits, the whole batch keeps within them.

        Raises:
            ProtocolError: If they are larger than is accepted.
        """
        rule = self._half.contract.quantization.gradients
        limits, part = self.limits, share**0.5
        largest = limits.max_grad_norm * part
        smallest = min(largest, (limits.clip_grad_norm or float("inf")) * part)
        if gradient_norm.bound(tensors, rule) <= smallest:
            return tensors
        norm = self.norm(tensors)
        gradient_norm.check_norm(norm, largest)
        if norm <= smallest:
            return tensors
        return gradient_norm.scaled(tensors, smallest / norm, rule)

    def norm(self, features_grad: Sequence[CutTensor]) -> float:
        """The norm of gradients of the features, all tensors together."""
        return _norm(self._half.cut_codecs.features_grad, features_grad)


def _norm(codec: "CutCodec", tensors: Sequence[CutTensor]) -> float:
    """The norm of all tensors of a cut together."""
    squares = [
        np.sum(np.square(array, dtype=np.float64))
        for array in codec.read(tensors)
    ]
    return float(np.sqrt(np.sum(squares)))
