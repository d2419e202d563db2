"""A folder of images with one sub-folder per class."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_split.datasets import class_list
from keras_split.datasets.images import Images
from keras_split.datasets.images import Progress
from keras_split.datasets.images import check_input_shape
from keras_split.errors import BackendError
from keras_split.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_LOG = logging.getLogger("keras_split")
_BITS_PER_SAMPLE = 258  # a tag of TIFF
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class ImageFolder(NamedTuple):
    """What `load_folder` read.

    Attributes:
        train: `(x, y)`: uint8 images of shape
            `(images, height, width, channels)` and int32 labels of shape
            `(images,)`, shuffled.
        validation: `(x, y)` of the held-back images; empty arrays when
            `validation_split` is 0.
        class_names: The names of the classes; a label is an index here.
    """

    train: tuple[Images, NDArray[np.int32]]
    validation: tuple[Images, NDArray[np.int32]]
    class_names: tuple[str, ...]


def load_folder(
    path: str | os.PathLike[str],
    input_shape: Sequence[int],
    seed: int = 0,
    validation_split: float = 0.0,
    progress: Progress | None = None,
    class_names: Sequence[str] = (),
) -> ImageFolder:
    """Reads `path/<class>/<image>` into arrays.

    Classes are numbered in the order of their names, or by `class_names`:
    without those, a phone that has two of five classes would number them 0
    and 1, whatever their numbers are elsewhere. Every image is turned
    as its camera says (EXIF) and resized to the input's height and width,
    its proportions changing with it. Other files, and folders whose name
    starts with a dot, are passed over. The same folder and seed give the
    same arrays on every machine.

    Args:
        path: The folder; its sub-folders are the classes.
        input_shape: `(height, width, channels)`; 1 channel reads the images
            as gray, 3 as RGB.
        seed: Decides the order of the images, and which are held back.
        validation_split: The share of each class to hold back, at least 0
            and below 1. Each class keeps at least one training image.
        progress: Called with `(images_read, images_in_all)` after each.
        class_names: All classes in the order of their labels, of which some
            may have no images here; none for the names of the sub-folders.

    Returns:
        An `ImageFolder`: `(x, y), (x_val, y_val), class_names`.

    Raises:
        DataError: If the folder is missing, has no class folders, one that
            is not among `class_names`, or no images, or an image cannot be
            read; the message names the file.
        BackendError: If Pillow is not installed.
    """
    height, width, channels = check_input_shape(input_shape)
    if channels not in (1, 3):
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
    classes = _find_classes(
        Path(path), class_list.check_class_names(class_names)
    )
    rng = np.random.default_rng(seed)
    train: list[tuple[Path, int]] = []
    validation: list[tuple[Path, int]] = []
    for label, files in enumerate(classes.values()):
        share = round(len(files) * validation_split)
        held_back = max(0, min(share, len(files) - 1))
        for place, index in enumerate(rng.permutation(len(files))):
            examples = validation if place < held_back else train
            examples.append((files[index], label))
    count = len(train) + len(validation)
    read = 0
    halves = []
    for examples in (train, validation):
        x = np.empty((len(examples), height, width, channels), np.uint8)
        y = np.empty(len(examples), np.int32)
        for row, index in enumerate(rng.permutation(len(examples))):
            file, y[row] = examples[index]
            x[row] = _read_image(file, (height, width, channels))
            read += 1
            if progress is not None:
                progress(read, count)
        halves.append((x, y))
    return ImageFolder(halves[0], halves[1], tuple(classes))


def _find_classes(path: Path, names: tuple[str, ...]) -> dict[str, list[Path]]:
    """Finds the image files of each class, in the order of the labels."""
    layout = f"Lay the images out as {path / 'CLASS' / 'IMAGE.jpg'}."
    if not path.is_dir():
        what = "It is a file." if path.exists() else "There is no such folder."
        raise DataError(
            f"Expected a folder with one sub-folder per class: {path}. "
            f"{what} {layout}"
        )
    folders = {
        class_list.normal(child.name): child
        for child in path.iterdir()
        if child.is_dir() and not child.name.startswith(".")
    }
    if not folders:
        raise DataError(
            f"Expected a folder with one sub-folder per class: {path}. It "
            f"has no sub-folders. {layout}"
        )
    for name in folders if names else ():
        class_list.label(name, names, path)
    classes = {
        name: _find_files(folders[name]) if name in folders else []
        for name in names or sorted(folders)
    }
    missing = [name for name, files in classes.items() if not files]
    if len(missing) == len(classes):
        raise DataError(
            f"Expected images ({', '.join(SUFFIXES)}) in the class folders. "
            f"There are none in any folder of {path}. {layout}"
        )
    if missing:
        _LOG.warning(
            "No images of %s in %s; %d of %d classes have some",
            ", ".join(missing),
            path,
            len(classes) - len(missing),
            len(classes),
        )
    return classes


def _find_files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
    )


def _read_image(path: Path, shape: tuple[int, int, int]) -> Images:
    """Reads one file as uint8 of `shape` (height, width, channels)."""
    try:
        from PIL import Image
        from PIL import ImageOps
    except ImportError as error:
        raise BackendError(
            "Expected Pillow, which reads image files. It is not installed. "
            "Install it with: pip install 'keras-split[images]'."
        ) from error
    try:
        with Image.open(path) as image:
            shallow = _to_8_bits(image)
            upright = ImageOps.exif_transpose(shallow)
            colored = upright.convert("L" if shape[2] == 1 else "RGB")
            resized = colored.resize(
                (shape[1], shape[0]), Image.Resampling.BILINEAR
            )
    except (
        OSError,
        ValueError,
        SyntaxError,  # Pillow's word for a broken PNG
        Image.DecompressionBombError,
    ) as error:
        raise DataError(
            f"Expected an image that Pillow can read: {path}. Reading it "
            f"failed: {error}. Replace or remove the file."
        ) from error
    return np.asarray(resized, np.uint8).reshape(shape)


def _to_8_bits(image: "Image.Image") -> "Image.Image":
    """The image with 8 bits a channel; Pillow clips deeper ones at 255.

    Raises:
        ValueError: If nothing says which of its values is white.
    """
    from PIL import Image

    # Until Pillow 10.2, 16-bit PNG opens in the mode of 32 bits.
    deep = image.mode == "I" and image.format == "PNG"
    (bits, *_) = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    if deep or (image.mode.startswith("I;16") and bits == 16):
        gray = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        made = Image.fromarray(gray)
        made.getexif().update(image.getexif())
        return made
    if image.mode[:1] in "IF":
        raise ValueError(
            "expected 8 or 16 bits a channel, received numbers of mode "
            f"{image.mode} whose range nobody knows; save it with 8 bits"
        )
    return image
