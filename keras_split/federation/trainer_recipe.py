"""How a process that has nothing yet makes what trains simulated phones."""

import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.compression import codecs
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.errors import SplitError
from keras_split.federation.pair import Pair
from keras_split.federation.phone_turn import PhoneTrainer
from keras_split.federation.phone_turn import TurnTerms
from keras_split.federation.shards import Shards
from keras_split.federation.traffic import Traffic
from keras_split.models import keras_file

_NAMES = ("client.keras", "server.keras")
_PHONES = 12  # whose values are under way at a time


@dataclass(frozen=True)
class TrainerRecipe:
    """Makes a `PhoneTrainer` like the one that it was made for.

    It is pickled, so halves are in it as Keras saves them.

    Attributes:
        halves: Files of client and server.
        known: Classes and functions that were registered with Keras, and that
            the files name; others may be none that can be pickled.
        floatx: Keras' own setting.
        image_data_format: Likewise.
        batchnorm: As of `Pair`.
        shards: What each phone has.
        terms: What is the same in all turns.
        layout: Shapes and dtypes of the values of a phone.
    """

    halves: tuple[bytes, ...]
    known: dict[str, Any]
    floatx: str
    image_data_format: str
    batchnorm: str
    shards: Shards
    terms: TurnTerms
    layout: list[tuple[tuple[int, ...], str]]

    @classmethod
    def of(
        cls, pair: Pair, batchnorm: str, shards: Shards, terms: TurnTerms
    ) -> "TrainerRecipe":
        """The recipe of a trainer with this pair.

        Raises:
            OptionError: If Keras cannot save the halves.
        """
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, name) for name in _NAMES]
            try:
                pair.client.save(paths[0])
                pair.server.save(paths[1])
            except (TypeError, ValueError, NotImplementedError) as error:
                # A DataError says which layer has no config.
                ours = isinstance(error, SplitError)
                if ours and not isinstance(error, DataError):
                    raise
                raise OptionError(
                    "Expected a model that Keras can save, for each process "
                    f"has a copy. Received: {str(error)[:300]} Give the layer "
                    "a get_config, or simulate in one process: "
                    'engine="process".'
                ) from error
            halves = tuple(path.read_bytes() for path in paths)
            known = _named(paths)
        return cls(
            halves,
            known,
            keras.config.floatx(),
            keras.config.image_data_format(),
            batchnorm,
            shards,
            terms,
            _layout(pair),
        )

    @property
    def nbytes(self) -> int:
        """Of what is large in it, and of a dozen phones' values."""
        values: int = sum(
            int(np.prod(shape)) * tf.as_dtype(dtype).size
            for shape, dtype in self.layout
        )
        arrays = keras.tree.flatten([self.shards.x, self.shards.y])
        data: int = sum(np.asarray(array).nbytes for array in arrays)
        return data + sum(map(len, self.halves)) + _PHONES * values

    def __call__(self) -> PhoneTrainer:
        """Makes the trainer.

        Raises:
            DataError: If Keras does not know a class here.
            CodecError: If nobody registered the codec here.
            SplitError: If the halves are others than they were.
        """
        keras.config.set_floatx(self.floatx)
        keras.config.set_image_data_format(self.image_data_format)
        keras.saving.get_custom_objects().update(self.known)
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, name) for name in _NAMES]
            for path, content in zip(paths, self.halves, strict=True):
                path.write_bytes(content)
            client, server = map(keras_file.load, paths)
        pair = Pair(client, server, self.batchnorm)
        if _layout(pair) != self.layout:
            raise SplitError(
                f"Expected halves with the {len(self.layout)} variables of "
                "those that were saved. Received: others. The config of a "
                "layer does not tell all of it; simulate in one process: "
                'engine="process".'
            )
        codec = codecs.get(client.contract.codec)
        traffic = Traffic(pair.client._half.cuts, codec)
        return PhoneTrainer(pair, self.shards, self.terms, traffic)


def _layout(pair: Pair) -> list[tuple[tuple[int, ...], str]]:
    variables = [*pair.half, *pair.own, *pair.body]
    return [(tuple(v.shape), str(v.dtype)) for v in variables]


def _named(paths: list[Path]) -> dict[str, Any]:
    """What is registered with Keras, as far as files of Keras name it."""
    text = ""
    for path in paths:
        with zipfile.ZipFile(path) as file:
            text += file.read("config.json").decode()
    known = keras.saving.get_custom_objects()
    return {name: v for name, v in known.items() if json.dumps(name) in text}
