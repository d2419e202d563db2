"""A folder of images with one sub-folder per class."""

import itertools
import logging
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_split.datasets import class_list
from keras_split.datasets.images import check_input_shape
from keras_split.datasets.layout import Classes
from keras_split.datasets.layout import Layout
from keras_split.datasets.layout import Say
from keras_split.datasets.layout import find_photos
from keras_split.datasets.layout import tell_missing
from keras_split.datasets.photos import Photos
from keras_split.datasets.photos import Problem
from keras_split.datasets.photos import Progress
from keras_split.datasets.photos import listed
from keras_split.datasets.photos import read_photos
from keras_split.datasets.photos import unreadable
from keras_split.errors import DataError

_LOG = logging.getLogger("keras_split")
# Below it, images stay in memory unless asked otherwise: 3,566 of 224x224x3.
IN_MEMORY_BYTES = 512 << 20
_Examples = list[tuple[Path, int]]


class ImageFolder(NamedTuple):
    """What `load_folder` read.

    Attributes:
        train: `(x, y)`: uint8 images of shape
            `(images, height, width, channels)` and int32 labels of shape
            `(images,)`, shuffled. `x` is `Photos` where they are streamed.
        validation: `(x, y)` of the held-back images, or of those in `val/`;
            empty when there are none.
        class_names: The names of the classes; a label is an index here.
    """

    train: tuple[Any, NDArray[np.int32]]
    validation: tuple[Any, NDArray[np.int32]]
    class_names: tuple[str, ...]


def load_folder(
    path: str | os.PathLike[str],
    input_shape: Sequence[int],
    seed: int = 0,
    validation_split: float = 0.0,
    progress: Progress | None = None,
    class_names: Sequence[str] = (),
    *,
    skip_unreadable: bool = False,
    stream: bool | None = False,
    say: Say = _LOG.warning,
) -> ImageFolder:
    """Reads `path/<class>/<image>`.

    Classes are numbered in the order of their names, or by `class_names`:
    without those, a phone that has two of five classes would number them 0
    and 1, whatever their numbers are elsewhere. A folder may also have
    `train/` and `val/` (`valid/`, `validation/`) with a folder a class each.

    Every image is turned as its camera says (EXIF) and resized to the
    input's height and width, its proportions changing with it. Of an
    animation or several pages it is the first; transparency and colour
    profiles are not looked at. HEIC needs pillow-heif. Hidden files and
    those of other kinds are passed over, which `say` tells. The same folder
    and seed give the same images in the same order on every machine.

    Args:
        path: The folder; its sub-folders are the classes.
        input_shape: `(height, width, channels)`; 1 channel reads the images
            as gray, 3 as RGB.
        seed: Decides the order of the images, and which are held back.
        validation_split: The share of each class to hold back, at least 0
            and below 1, where there is no `val/`. Each class keeps at least
            one training image.
        progress: Called with `(images_read, images_in_all)` after each.
        class_names: All classes in the order of their labels, of which some
            may have no images here; none for the names of the sub-folders.
        skip_unreadable: Leave out files that cannot be read, as if they were
            not there, and tell how many.
        stream: False keeps the images in memory. True reads each file once
            to see that it can be read, and again for each batch: `x` is
            `Photos`. None does so where they take more than 512 MiB.
        say: Called with lines that a person should see; by default they are
            warnings of the logger `keras_split`.

    Returns:
        An `ImageFolder`: `(x, y), (x_val, y_val), class_names`.

    Raises:
        DataError: If the folder is missing, has no class folders, one that
            is not among `class_names`, or no images; or if images cannot be
            read, of which the message names each with the reason.
        BackendError: If Pillow is not installed.

    Example:
    >>> def show(path):
    ...     (x, y), (x_val, y_val), names = load_folder(
    ...         path, (224, 224, 3), validation_split=0.1
    ...     )
    ...     print(f"{len(x)} and {len(x_val)} images of {names}")
    """
    shape = check_input_shape(input_shape)
    if shape[2] not in (1, 3):
        raise DataError(
            "Expected an input of 1 channel (gray) or 3 (RGB). Received: "
            f"input_shape={tuple(input_shape)}. Images in files are gray or "
            "RGB."
        )
    if not 0.0 <= validation_split < 1.0:
        raise DataError(
            "Expected validation_split to be at least 0 and below 1. "
            f"Received: {validation_split}. 0.1 holds back a tenth of each "
            "class."
        )
    names = class_list.check_class_names(class_names)
    layout = find_photos(Path(path), names, say)
    parts = _order(layout, seed, validation_split)
    files = [file for file, _ in itertools.chain(*parts)]
    if stream is None:
        stream = len(files) * math.prod(shape) > IN_MEMORY_BYTES
    x: Any = None if stream else np.empty((len(files), *shape), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, which name no file
        problems = read_photos(files, shape, x, progress)
    problems.sort()
    if problems:
        if not skip_unreadable:
            raise unreadable(problems, len(files))
        found, layout = layout, _without(layout, problems)
        parts = _order(layout, seed, validation_split)
        if not parts[0]:
            raise unreadable(problems, len(files))
        say(
            f"Left out {len(problems):,} of {len(files):,} files, which "
            f"cannot be read:\n{listed(problems)}"
        )
        if any(found.train[n] and not layout.train[n] for n in layout.train):
            tell_missing(Path(path), layout.train, say)
        rows = {file: row for row, file in enumerate(files)}
        files = [file for file, _ in itertools.chain(*parts)]
        x = None if stream else x[[rows[file] for file in files]]
    y = np.array([label for _, label in itertools.chain(*parts)], np.int32)
    held = slice(len(parts[0]), None)
    kept = slice(len(parts[0]))
    if stream:
        photos = Photos(files[kept], shape), Photos(files[held], shape)
    else:
        photos = x[kept], x[held]
    return ImageFolder(
        (photos[0], y[kept]), (photos[1], y[held]), tuple(layout.train)
    )


def _order(
    layout: Layout, seed: int, validation_split: float
) -> tuple[_Examples, _Examples]:
    """Training and validation files with their labels, shuffled."""
    rng = np.random.default_rng(seed)
    train: _Examples = []
    validation: _Examples = []
    for label, files in enumerate(layout.train.values()):
        held_back = 0
        if layout.validation is None:
            share = round(len(files) * validation_split)
            held_back = max(0, min(share, len(files) - 1))
        for place, index in enumerate(rng.permutation(len(files))):
            examples = validation if place < held_back else train
            examples.append((files[index], label))
    for label, files in enumerate((layout.validation or {}).values()):
        validation += [(file, label) for file in files]
    return (
        [train[index] for index in rng.permutation(len(train))],
        [validation[index] for index in rng.permutation(len(validation))],
    )


def _without(layout: Layout, problems: list[Problem]) -> Layout:
    """The layout as if the unreadable files were not there."""
    bad = {problem.path for problem in problems}

    def rest(classes: Classes) -> Classes:
        return {
            name: [file for file in files if file not in bad]
            for name, files in classes.items()
        }

    return Layout(
        rest(layout.train),
        None if layout.validation is None else rest(layout.validation),
    )
