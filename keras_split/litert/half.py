"""What a phone's half must have to become a LiteRT file."""

from typing import Any
from typing import Protocol

import keras

from keras_split.defenses.chain import Chain
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_spec import DataSpec


class PhoneHalf(Protocol):
    """The part of `keras_split.ClientModel` that an export reads.

    Attributes:
        head: The head as a functional model.
        tail: The tail; None for a model that is cut once.
        contract: What the model was cut with.
        wiring: Which inputs and outputs belong together.
        defenses: What is done to tensors before they are sent.
        strategy: Asks the server for features, to calibrate.
        compiled: Whether it has an optimizer and a loss.
        variables: All weights and state.
    """

    head: keras.Model
    tail: keras.Model | None
    contract: Contract
    wiring: Any
    defenses: Chain

    @property
    def data_spec(self) -> DataSpec:
        """Classes and preprocessing of its data."""

    @property
    def strategy(self) -> Any:
        """Asks the server for features, to calibrate."""

    @property
    def compiled(self) -> bool:
        """Whether it has an optimizer and a loss."""

    @property
    def variables(self) -> list[Any]:
        """All weights and state."""

    def connect(self) -> None:
        """Opens a session with the server, unless one is open."""

    def close(self) -> None:
        """Ends the session."""
