"""What a client says of itself, as it stands in client.json."""

from collections.abc import Iterable
from dataclasses import replace

from keras_split.device.description import Description
from keras_split.protocol.contract import Contract


class Described:
    """Has a `client.json`, whose parts that programs ask for are here.

    Attributes:
        description: All of it.
    """

    description: Description

    @property
    def contract(self) -> Contract:
        """What client and server agreed on when the model was cut."""
        return self.description.contract

    @property
    def batch_size(self) -> int:
        """The most examples in a batch, fixed when the model was exported."""
        return self.description.batch_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the labels; empty if not known.

        `client.class_names[row.argmax()]` is what a row of `predict` says.
        They may be set where client.json does not know them.

        Raises:
            DataError: If a name is empty or there twice.
        """
        return self.description.data_spec.class_names

    @class_names.setter
    def class_names(self, names: Iterable[str]) -> None:
        spec = self.description.data_spec.named(names)
        self.description = replace(self.description, data_spec=spec)
