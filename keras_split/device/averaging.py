"""How a LiteRT-only phone trains one model with other phones."""

from dataclasses import dataclass

from keras_split.errors import OptionError
from keras_split.protocol.cohort import EPOCH
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.half_layout import BATCHNORM
from keras_split.protocol.optimizer_config import OptimizerConfig


@dataclass(frozen=True)
class FederatedAveraging:
    """How a LiteRT-only phone trains one model with other phones.

    For `Client.fit(federate=...)`, with a server that has a cohort: beside
    others like it, or Keras clients with `keras_split.FederatedAveraging`.
    All phones say the same, but for `examples`.

    A .tflite updates its weights itself and gives no gradients, so weights
    are averaged. Where Keras clients are in the cohort and `every` is 1, they
    say `what="weights"`; averages of weights after each step are those of
    gradients where the optimizer is SGD without momentum.

    Attributes:
        every: `"epoch"`, or after how many steps halves are averaged.
        optimizer: Config as JSON of a Keras optimizer that the server applies
            to the average change of the weights; empty for the average as it
            is.
        batchnorm: `"average"`, or `"local"` for batch normalization that this
            phone keeps to itself: weights and statistics.
        what: `"weights"`.
        require_secure: Whether to train only where the server adds up what it
            cannot read.
        examples: How many an epoch has, where `batches` does not say.

    Raises:
        OptionError: If a value cannot be.

    Example:
        client.fit(data, epochs=3, federate=FederatedAveraging(every=4))
    """

    every: str | int = "epoch"
    optimizer: str = ""
    batchnorm: str = "average"
    what: str = "weights"
    require_secure: bool = False
    examples: int | None = None

    def __post_init__(self) -> None:
        if self.every != "epoch" and not _counts(self.every):
            raise OptionError(
                'Expected every to be "epoch" or a whole number of 1 or more. '
                f"Received: {self.every!r}."
            )
        if self.batchnorm not in BATCHNORM:
            raise OptionError(
                f"Expected batchnorm to be one of {', '.join(BATCHNORM)}. "
                f"Received: {self.batchnorm!r}."
            )
        if self.what != "weights":
            raise OptionError(
                'Expected what="weights": a .tflite updates its weights '
                "itself, and has no gradients to give. Received: "
                f"{self.what!r}. Have the Keras clients of the cohort say "
                'FederatedAveraging(what="weights"), or --averaged weights.'
            )
        if self.examples is not None and not _counts(self.examples):
            raise OptionError(
                "Expected examples to be a whole number of 1 or more. "
                f"Received: {self.examples!r}."
            )
        if self.optimizer:
            OptimizerConfig.read(self.optimizer)

    @property
    def terms(self) -> AveragingTerms:
        """What the server is told, the same by all phones."""
        every = EPOCH if isinstance(self.every, str) else self.every
        optimizer = self.optimizer
        if optimizer:
            optimizer = OptimizerConfig.read(optimizer).text
        return AveragingTerms(every, self.what, self.batchnorm, optimizer)


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
