"""Files of weights: from one network into another, layer by layer.

A network for 1,000 classes, or one without a classifier, has the layers of
one for 5, but for the last. So what fits by name and shape is taken, and it is
told what did not fit. Reads `.weights.h5`, the older `.h5` of weights or of
whole models, and `.keras`.

Names that Keras made up count on with every layer of a process, so layers that
nobody named are told apart by their order instead.
"""

import io
import os
import re
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from keras_split.errors import DataError

_Arrays = list[np.ndarray[Any, Any]]
_NAMED = 6  # of the layers that were not loaded, so many are told by name
_RANDOM = "seed_generator"


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded from a file, and what was not.

    Attributes:
        path: The file.
        loaded: Names of layers that have its weights now.
        skipped: Names of layers that have what they had, and why.
    """

    path: str
    loaded: tuple[str, ...]
    skipped: Mapping[str, str]

    def __str__(self) -> str:
        whole = len(self.loaded) + len(self.skipped)
        text = (
            f"Loaded {len(self.loaded)} of {whole} layers with weights from "
            f"{self.path}."
        )
        if not self.skipped:
            return text
        told = [f"{k} ({why})" for k, why in self.skipped.items()]
        more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        return f"{text} Not loaded: {', '.join(told[:_NAMED])}{more}."


def load_weights(
    model: keras.Model, path: str | os.PathLike[str]
) -> LoadedWeights:
    """Loads what fits by the names and shapes of layers.

    Args:
        model: Gets the weights.
        path: Of a `.weights.h5`, `.h5` or `.keras` file.

    Raises:
        DataError: If it cannot be read, or nothing fits; nothing has changed.
    """
    path = os.fspath(path)
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own.weights.h5"
        model.save_weights(own)
        there, known = _read(path), set[str]()
        loaded, skipped = [], {}
        with h5py.File(own, "r+") as file:
            for layer in _stored(file, sought=True):
                found = [x for x in there if layer.keys & x.keys]
                why = _why_not(layer, found)
                if not why and layer.keys & known:
                    why = "several layers here have its name"
                if why:
                    skipped[layer.name] = why
                    continue
                known |= layer.keys
                loaded.append(layer.name)
                for place, value in zip(
                    layer.places, found[0].arrays, strict=True
                ):
                    file[place][...] = value
        if not loaded:
            names = ", ".join(layer.name for layer in there)
            raise DataError(
                "Expected weights of layers that the network has, by name and "
                f"shape: {', '.join(list(skipped)[:3])}, ... Received: "
                f"{path!r}, of which none fits. It has "
                f"{names[:200] or 'no weights at all'}. Give a file of the "
                "same network."
            )
        model.load_weights(own)
    return LoadedWeights(path, tuple(loaded), skipped)


@dataclass(frozen=True, eq=False)
class _Layer:
    """The weights of one layer in a file.

    Attributes:
        name: Its name, or where it is in the file.
        keys: What says that a layer of another file is the same one.
        arrays: Its weights, in order.
        places: Where they are in the file.
    """

    name: str
    keys: frozenset[str]
    arrays: _Arrays
    places: Sequence[str] = ()


def _why_not(here: _Layer, found: Sequence[_Layer]) -> str:
    """Why weights do not fit; empty if they do."""
    if len(found) != 1:
        return "twice in the file" if found else "not in the file"
    ours, theirs = ([v.shape for v in x.arrays] for x in (here, found[0]))
    if ours == theirs:
        return ""
    if len(ours) != len(theirs):
        return f"{len(theirs)} weights in the file, {len(ours)} here"
    pairs = zip(ours, theirs, strict=True)
    our, their = next((a, b) for a, b in pairs if a != b)
    return f"{their} in the file, {our} here"


def _read(path: str) -> list[_Layer]:
    """The layers of a file."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = io.BytesIO(archive.read("model.weights.h5"))
            with h5py.File(content) as file:
                return _stored(file)
        with h5py.File(path) as file:
            whole = file.get("model_weights", file)
            if "layer_names" in whole.attrs:
                return _legacy(whole)
            return _stored(file)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            "Expected weights in a .weights.h5, .h5 or .keras file. Received: "
            f"{path!r}, which cannot be read: {error}."
        ) from error


def _stored(file: h5py.File, sought: bool = False) -> list[_Layer]:
    """The layers of a `.weights.h5`, as Keras 3 writes it.

    Args:
        file: It. Before Keras 3.8 it told no names; then layers are known by
            their order alone.
        sought: Whether they are to be found in a file of either kind.
    """
    groups: list[str] = []
    file.visit(groups.append)
    parts = defaultdict(list)
    for group in groups:
        outer, _, last = group.rpartition("/")
        if last == "vars" and len(file[group]) and _RANDOM not in outer:
            # A layer, or what is in it: the cell of an LSTM.
            layer = re.match(r"(.*layers/[^/]+)", outer)
            parts[layer[1] if layer else outer].append(group)
    names = {}
    for entry in sorted(parts, key=_number):  # as the model lists them
        own = file.get(f"{entry}/vars")
        names[entry] = "" if own is None else str(own.attrs.get("name", ""))
    unnamed = [
        entry
        for entry, name in names.items()
        if _stem(name) in ("", _stem(entry.rpartition("/")[2]))
    ]
    keys: dict[str, set[str]] = defaultdict(set)
    if any(names.values()):
        for entry, name in names.items():
            keys[entry] = {name}
        for entry, key in _by_order(unnamed, "of the unnamed").items():
            keys[entry] = {key}
    if sought or not keys:
        for entry, key in _by_order(names, "of all").items():
            keys[entry].add(key)
    layers = []
    for entry, inner in parts.items():
        places = [
            f"{group}/{i}" for group in inner for i in range(len(file[group]))
        ]
        arrays = [file[place][()] for place in places]
        layers.append(
            _Layer(
                names[entry] or entry, frozenset(keys[entry]), arrays, places
            )
        )
    return layers


def _legacy(file: Any) -> list[_Layer]:
    """The layers of an `.h5`, as Keras 2 wrote it and keras.applications has.

    A group is a layer, or a nested model: its weights say which layer of it
    they are of.
    """
    parts: dict[str, _Arrays] = defaultdict(list)
    for group in map(_text, file.attrs["layer_names"]):
        names = [_text(name) for name in file[group].attrs["weight_names"]]
        nested = len({_owner(name, group) for name in names} - {group}) > 1
        for name in names:
            array = file[group][name][()]
            parts[_owner(name, group) if nested else group].append(array)
    # In the order of the file, which is the model's; names count how layers
    # were made, and InceptionV3 makes them in another one.
    order = _by_order([f"layers/{name}" for name in parts], "of the unnamed")
    return [
        _Layer(name, frozenset({name, order[f"layers/{name}"]}), arrays)
        for name, arrays in parts.items()
    ]


def _by_order(entries: Iterable[str], what: str) -> dict[str, str]:
    """A key for each entry: the how manieth of how many of its kind it is."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        kinds[_stem(entry)].append(entry)
    return {
        entry: f"{i + 1} of {len(kind)} {stem} {what}"
        for stem, kind in kinds.items()
        for i, entry in enumerate(kind)
    }


def _owner(name: str, group: str) -> str:
    """The layer that a weight such as `"net/conv/kernel:0"` is of."""
    path = name.split("/")
    return path[-2] if len(path) > 1 else group


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _stem(name: str) -> str:
    """A name without the number that Keras put behind it."""
    return re.sub(r"_\d+$", "", name)


def _number(name: str) -> int:
    found = re.search(r"_(\d+)$", name)
    return int(found[1]) if found else 0
