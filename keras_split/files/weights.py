"""How many weights an .h5 of Keras holds, and what lies beside them."""

import json
from typing import IO
from typing import Any

from keras_split.files.facts import Facts
from keras_split.files.facts import of_moment
from keras_split.files.facts import total

# What our own models write among their variables.
_OURS = ("snapshot", "moment")


def of_weights(file: str | IO[bytes]) -> Facts:
    """Parameters by part of a model, and what our models keep beside.

    Args:
        file: The .h5.

    Returns:
        No parameters where h5py is not installed, which comes with Keras.

    Raises:
        OSError: If it is no .h5, or broken.
    """
    try:
        import h5py
    except ImportError:
        return {"parameters": "not counted: h5py is not installed"}
    shapes: dict[str, list[tuple[int, ...]]] = {}
    names: dict[str, str] = {}
    ours: dict[str, bytes] = {}

    def visit(path: str, item: Any) -> None:
        part = _part(path)
        if isinstance(item, h5py.Group):
            if path == f"{part}/vars" and "name" in item.attrs:
                names[part] = str(item.attrs["name"])
            return
        if path in (f"vars/{name}" for name in _OURS):
            ours[path[5:]] = bytes(item[()])
        elif "seed_generator" not in path:
            shapes.setdefault(part, []).append(tuple(item.shape))

    with h5py.File(file, "r") as content:
        content.visititems(visit)
    about: Facts = {}
    slots = shapes.pop("optimizer", [])
    counts = {names.get(part, part): total(s) for part, s in shapes.items()}
    about["parameters"] = {"all": sum(counts.values())}
    if set(counts) & {"head", "body", "tail"}:
        about["parameters"] |= counts
    if slots:
        about["optimizer_numbers"] = total(slots)
    if "snapshot" in ours:
        about["server_snapshot"] = ours["snapshot"].decode("ascii", "replace")
    if "moment" in ours:
        config = json.loads(ours["moment"])
        about |= of_moment(config.get("moment", config))
    return about


def _part(path: str) -> str:
    """Head, body or tail: one or two names from the root."""
    names = path.split("/")
    if names[0] == "layers" and len(names) > 2:
        return "/".join(names[:2])
    return names[0]
