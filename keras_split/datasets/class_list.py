"""The names of classes in the order of their labels."""

import difflib
import json
import os
import unicodedata
import zipfile
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_split.errors import DataError

_ADVICE = (
    "Give a client.keras or client.json whose training knew its classes, or "
    "a text file with one name a line."
)


def check_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names as `normal` writes them, or says why they cannot number anything.

    Raises:
        DataError: If one is no text or empty, or stands there twice.
    """
    if isinstance(names, str):
        raise DataError(
            "Expected class_names to be a list of names. Received: the text "
            f"{names!r}. Put it in brackets, or take it apart with split."
        )
    checked: list[str] = []
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise DataError(
                "Expected the name of each class. Received: "
                f"{name!r} as number {len(checked)}. Names are those of the "
                "folders."
            )
        name = normal(name)
        if name.encode(errors="ignore").decode() != name:
            raise DataError(
                f"Expected names of classes in UTF-8. Received: {name!a}. "
                "Rename the folder."
            )
        if name in checked:
            raise DataError(
                "Expected each class once. Received: "
                f"{name!r} as numbers {checked.index(name)} and "
                f"{len(checked)}. A label is one place in the list."
            )
        checked.append(name)
    return tuple(checked)


def normal(name: str) -> str:
    """A name as every machine writes it.

    macOS may give the parts of an accented letter, where Linux gives one
    letter; both are one class.
    """
    return unicodedata.normalize("NFC", name)


def check_known(
    found: Iterable[str], names: Sequence[str], where: object
) -> None:
    """Refuses classes that are not among the given ones.

    Args:
        found: Names of classes.
        names: Of all classes, as `check_class_names` gives them.
        where: What they were found in, for the error.

    Raises:
        DataError: If `names` lacks some; the error gives the nearest of
            each.
    """
    strange = [name for name in map(normal, found) if name not in names]
    if not strange:
        return
    folded = {name.casefold(): name for name in names}
    listed = []
    for name in strange:
        (near,) = difflib.get_close_matches(name.casefold(), folded, 1, 0.0)
        listed.append(f"{name!r} (the nearest is {folded[near]!r})")
    raise DataError(
        f"Expected classes among the {len(names)} given ones in {where}. "
        f"Received: {', '.join(listed)}. Rename them or take them away; or "
        "add them to the names, and start with a network of as many classes."
    )


def renumber(
    labels: NDArray[Any],
    their_names: Sequence[str],
    names: Sequence[str],
    where: object,
) -> NDArray[Any]:
    """Labels of one list of classes as those of another.

    Args:
        labels: Places in `their_names`, shape `(examples,)`.
        their_names: The classes that the data was numbered by.
        names: The classes to number it by.
        where: What the labels are of, for the error.

    Returns:
        Places in `names`, the same shape and dtype.

    Raises:
        DataError: If `names` lacks one of `their_names`.
    """
    check_known(their_names, names, where)
    places = [names.index(normal(name)) for name in their_names]
    moved: NDArray[Any] = np.asarray(places, labels.dtype)[labels]
    return moved


def read_class_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads the names of classes, in the order of their labels.

    Keras is not needed for it.

    Args:
        path: A client.keras or a client.json, which say what they were
            trained on; a .json file with a list; or a text file with one
            name a line, where empty lines are passed over.

    Raises:
        DataError: If the file cannot be read, or holds no names.
    """
    path = Path(path)
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                found = _in_config(json.loads(archive.read("config.json")))
        elif path.suffix == ".json":
            found = _in_description(json.loads(path.read_bytes()))
        else:
            lines = path.read_text("utf-8-sig").splitlines()
            found = [line.strip() for line in lines if line.strip()]
    except (
        *(OSError, ValueError, KeyError, RecursionError),
        zipfile.BadZipFile,
    ) as error:
        raise DataError(
            f"Expected a file with the names of classes: {path}. Reading it "
            f"failed: {error}. {_ADVICE}"
        ) from error
    if not isinstance(found, list) or not found:
        raise DataError(
            f"Expected the names of classes in {path}. It holds none. {_ADVICE}"
        )
    return check_class_names(found)


def _in_config(config: Any) -> Any:
    """What a saved `ClientModel` says of its data."""
    for name in ("config", "data_spec", "class_names"):
        config = config.get(name) if isinstance(config, dict) else None
    return config


def _in_description(description: Any) -> Any:
    if isinstance(description, dict):
        return description.get("class_names")
    return description
