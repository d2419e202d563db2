"""What a client says of its images: which classes, and at what scale."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from keras_split import datasets
from keras_split import zoo
from keras_split.errors import DataError
from keras_split_cli.data import Data

if TYPE_CHECKING:
    from keras_split.models import ClientModel

AS_THEY_ARE = (
    "Images go in with values from 0 to 255; the client knows no other scale"
)


def scaling(
    client: "ClientModel", preset: str | None, *, kept: bool
) -> Callable[[Any], Any] | None:
    """What is done to the values of images, for `datasets.to_model_input`.

    Args:
        client: Says it.
        preset: What it was built from; knows what no file can say, if it
            takes images.
        kept: Whether files will be written, for which that is no use.

    Raises:
        DataError: If files would say nothing of what was done.
    """
    if client.data_spec.matrix:
        return client.data_spec.scale_in_place
    found = None if preset is None else zoo.get(preset)
    if not isinstance(found, zoo.ImagePreset):
        return None
    function: Callable[[Any], Any] = zoo.resolve(found.preprocess)
    if kept:
        raise DataError(
            "Expected a preset that scales, shifts and mixes the channels of "
            f"each pixel, which is all that a client's files can hold. "
            f"Received: {preset!r}, whose {found.preprocess} does "
            "something else. Make that a layer of the network."
        )
    return function


def numbering(known: Sequence[str], given: Sequence[str]) -> Sequence[str]:
    """The classes by which a folder is numbered: those that a client knows.

    Args:
        known: To the client, in the order of its labels.
        given: On the command line.

    Raises:
        DataError: If both say something, and not the same.
    """
    if known and given and tuple(given) != tuple(known):
        raise DataError(
            f"Expected the classes that the client was trained with: "
            f"{', '.join(known)}. Received: {', '.join(given)}. Leave "
            "--class-names and --classes-from out, for the client numbers "
            "them by itself."
        )
    return known or given


def names_of_all(
    data: str, found: Data, outputs: int | None
) -> tuple[str, ...]:
    """The names of all classes of a network; none where nobody knows them.

    Args:
        data: Where the images are from.
        found: What was read there.
        outputs: How many classes the network has; None if that is not known.

    Raises:
        DataError: If a label has no output, or a folder with fewer classes
            than the network does not say which they are.
    """
    names = found.class_names
    pairs = [pair for pair in found[:2] if pair is not None]
    labels = max(len(names), *(int(y.max()) + 1 for _, y in pairs), 0)
    if outputs is None:
        return names
    if labels > outputs:
        raise DataError(
            f"Expected labels from 0 to {outputs - 1}, as the network has "
            f"{outputs} classes. Received: {labels} classes. Build one for "
            f"{labels}: --classes {labels}, here and for the server."
        )
    if 0 < len(names) < outputs and data not in datasets.names():
        raise DataError(
            f"Expected {outputs} classes, as the network has. Received: "
            f"{len(names)} in {data} ({', '.join(names)}), and nothing that "
            "says which numbers they have, so another phone may give them "
            "others. Name all of them: --class-names A,B,C, or --classes-from "
            "with the client.keras or client.json of a phone that knows them."
        )
    return names if len(names) == outputs else ()
