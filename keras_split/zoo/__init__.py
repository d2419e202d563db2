"""Standard networks with splits that are ready to use.

A preset is data: which network, which cuts, and what they cost. Presets are
found through the entry-point group `keras_split.zoo`, so that a package of
yours can bring its own. Listing them loads neither Keras nor TensorFlow.
"""

import difflib
from importlib.metadata import entry_points
from typing import Any

from keras_split.errors import ZooError
from keras_split.zoo.facts import Cut
from keras_split.zoo.facts import Facts
from keras_split.zoo.facts import compute_facts
from keras_split.zoo.image import ImagePreset
from keras_split.zoo.lookup import resolve
from keras_split.zoo.preset import CUT_NAMES
from keras_split.zoo.preset import DEFAULT_CUT
from keras_split.zoo.preset import Preset
from keras_split.zoo.text import TextPreset

__all__ = [
    "CUT_NAMES",
    "Cut",
    "DEFAULT_CUT",
    "Facts",
    "GROUP",
    "ImagePreset",
    "Preset",
    "TextPreset",
    "compute_facts",
    "get",
    "load",
    "names",
    "resolve",
]

GROUP = "keras_split.zoo"


def names(kind: str | None = None) -> list[str]:
    """Names of all presets that are installed.

    Args:
        kind: `"images"` or `"texts"`, for those alone that take them.
    """
    found = sorted({entry.name for entry in entry_points(group=GROUP)})
    return [n for n in found if kind is None or get(n).KIND == kind]


def get(name: str) -> Preset:
    """A preset by its name.

    Raises:
        ZooError: If there is none.
    """
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            preset = entry.load()
            if isinstance(preset, Preset):
                return preset
    near = difflib.get_close_matches(name, names(), 3)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ZooError(
        f"Expected a preset: {', '.join(names())}. Received: {name!r}. "
        f"{meant}See keras-split zoo list."
    )


def load(name: str, *args: Any, **options: Any) -> Any:
    """`get(name).load(...)`: client and server of a preset."""
    return get(name).load(*args, **options)
