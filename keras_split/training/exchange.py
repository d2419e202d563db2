"""What a client's step says to its server, whoever carries it."""

from typing import Protocol

from keras_split.compression.tensors import CutTensor
from keras_split.protocol.messages import LabeledResult


class Exchange(Protocol):
    """Says what a step has to say, and waits for the answers.

    `keras_split.SplitStrategy` is one. Whatever goes wrong is an error of
    `keras_split.errors`, and ends the step.
    """

    def expects(self, *, smashed_grad: bool) -> None:
        """Told before a step: whether gradients of the smashed data are used.

        If not, it need not bring any.
        """

    def forward(
        self, smashed: list[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """Smashed data for features and the body's penalty."""

    def backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> list[CutTensor]:
        """Gradients of the features for those of the smashed data."""

    def committed(self) -> None:
        """Waits until the server has taken the step."""

    def labeled_step(
        self,
        smashed: list[CutTensor],
        labels: list[CutTensor],
        sample_weights: list[CutTensor],
        learning_rate: float,
    ) -> LabeledResult:
        """The whole step of a model that is cut once."""

    def infer(self, smashed: list[CutTensor]) -> tuple[list[CutTensor], float]:
        """Features in inference mode, and the body's penalty."""

    def send_forward(
        self, smashed: list[CutTensor], index: int, count: int, batch: int
    ) -> None:
        """Sends the smashed data of microbatch `index` of `count`."""

    def receive_features(self) -> tuple[list[CutTensor], float]:
        """The features of the next microbatch, and the penalty."""

    def send_backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> None:
        """Sends gradients of the features of the next microbatch."""

    def receive_smashed_grad(self) -> list[CutTensor]:
        """The smashed data's gradients of the next microbatch."""
