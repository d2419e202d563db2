"""What a client says of its data, checked against its network."""

from typing import TYPE_CHECKING
from typing import Any
from typing import Union

import keras

from keras_split.errors import DataError
from keras_split.protocol.data_spec import DataSpec

if TYPE_CHECKING:
    from keras_split.models.client import ClientModel


class DataSpecOf:
    """The attribute `ClientModel.data_spec`.

    What does not fit the network is refused when it is set. A server in this
    process is told: there is one client to train it.
    """

    def __get__(
        self, client: Union["ClientModel", None], owner: Any = None
    ) -> DataSpec:
        """What was set, or a spec that says nothing."""
        if client is None:
            return DataSpec()
        found: DataSpec = client.__dict__.get("_data_spec", DataSpec())
        return found

    def __set__(
        self, client: "ClientModel", spec: DataSpec | dict[str, Any] | None
    ) -> None:
        """Takes a spec, its config, or None.

        Raises:
            DataError: If it does not fit the network; nothing has changed.
        """
        spec = DataSpec.get(spec)
        _check_scale(spec, client.head.inputs)
        if client.tail is not None:
            _check_classes(spec, client.tail.outputs)
        client.__dict__["_data_spec"] = spec
        server = client._server_link.server
        if server is not None:
            server.data_digest = spec.digest


def _check_scale(spec: DataSpec, inputs: list[keras.KerasTensor]) -> None:
    """Only one input can be the images; of several nobody knows which."""
    shapes = [tuple(tensor.shape) for tensor in inputs]
    if not spec.matrix or len(shapes) != 1:
        return
    if len(shapes[0]) < 2 or shapes[0][-1] not in (None, len(spec.matrix)):
        raise DataError(
            f"Expected a matrix for the last axis of the input, of shape "
            f"{shapes[0]}. Received: one for {len(spec.matrix)} channels. Give "
            "it a row, and a number in each row, for each channel."
        )


def _check_classes(spec: DataSpec, outputs: list[keras.KerasTensor]) -> None:
    """Only one output can be that of the classes; the same."""
    shapes = [tuple(tensor.shape) for tensor in outputs]
    names = spec.class_names
    if not names or len(shapes) != 1 or shapes[0][-1] is None:
        return
    # One number tells two classes apart.
    classes = 2 if shapes[0][-1] == 1 and len(names) == 2 else shapes[0][-1]
    if len(names) != classes:
        raise DataError(
            f"Expected the name of each class, as many as the network's "
            f"output has: {classes}. Received: {len(names)}, "
            f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}. "
            f"Name all {classes}, or build the network for {len(names)}."
        )
