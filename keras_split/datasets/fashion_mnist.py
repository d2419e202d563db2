"""Fashion-MNIST: 28x28 grayscale photographs of clothes in ten classes.

A fixed subset with as many images of every class is part of the package
(`load_subset`); all 70,000 images come from the Debian package
`dataset-fashion-mnist` or from `keras.datasets` (`load_full`). The images are
(c) 2017 Zalando SE under the MIT licence, see LICENSE.fashion_mnist.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from keras_split.datasets.images import Split
from keras_split.datasets.photo import Images
from keras_split.errors import DataError
from keras_split.utils.extras import install

CLASS_NAMES: tuple[str, ...] = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SUBSET_PATH = Path(__file__).with_name("fashion_mnist_8k.npz")
DEBIAN_PATH = Path("/usr/share/datasets/fashion-mnist")


def load_subset() -> Split:
    """Loads the images that come with keras_split, without a network.

    They are 600 training and 200 test images of each class, taken from the
    training and the test set of Fashion-MNIST and kept in its order, which
    mixes the classes. `scripts/make_fashion_mnist_subset.py` made the file.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, uint8 of shapes
        `(6000, 28, 28)`, `(6000,)`, `(2000, 28, 28)` and `(2000,)`.
    """
    with np.load(SUBSET_PATH, allow_pickle=False) as arrays:
        return (
            (arrays["x_train"], arrays["y_train"]),
            (arrays["x_test"], arrays["y_test"]),
        )


def load_full() -> Split:
    """Loads all of Fashion-MNIST.

    Debian's files are taken when they are there, because they need no
    network; else `keras.datasets.fashion_mnist` downloads the set once and
    keeps it.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, uint8 of shapes
        `(60000, 28, 28)`, `(60000,)`, `(10000, 28, 28)` and `(10000,)`.

    Raises:
        DataError: If neither source can be read.
    """
    if not DEBIAN_PATH.is_dir():
        return _load_with_keras()
    images, labels = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"
    return (
        (
            _read_idx(DEBIAN_PATH / f"train-{images}", (60000, 28, 28)),
            _read_idx(DEBIAN_PATH / f"train-{labels}", (60000,)),
        ),
        (
            _read_idx(DEBIAN_PATH / f"t10k-{images}", (10000, 28, 28)),
            _read_idx(DEBIAN_PATH / f"t10k-{labels}", (10000,)),
        ),
    )


def _load_with_keras() -> Split:
    try:
        import keras

        train, test = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # a failed download is a bare Exception
        raise DataError(
            f"Expected Fashion-MNIST in {DEBIAN_PATH} or from "
            "keras.datasets. The folder is not there, and Keras answered: "
            f"{error}. Install the Debian package (apt install "
            f"dataset-fashion-mnist), or Keras ({install('tensorflow')}) and "
            "allow it one download, or use the images that come with "
            "keras_split: load_subset()."
        ) from error
    return train, test


def _read_idx(path: Path, shape: tuple[int, ...]) -> Images:
    """Reads one of Fashion-MNIST's gzipped idx files, `shape` being known."""
    # idx: two zero bytes, 8 for uint8, the rank, each axis as a big-endian
    # int32, then the values.
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"Expected a gzipped idx file of shape {shape}: {path}. "
            f"Reading it failed: {error}. Reinstall the Debian package: "
            "apt install --reinstall dataset-fashion-mnist."
        ) from error
    size = len(header) + int(np.prod(shape))
    if not content.startswith(header) or len(content) != size:
        raise DataError(
            f"Expected an idx file of uint8 values of shape {shape}: {path}. "
            f"Received {len(content)} bytes that start with "
            f"{content[:8].hex(' ')}. Reinstall the Debian package: "
            "apt install --reinstall dataset-fashion-mnist."
        )
    # A copy, because an array over bytes is read-only.
    values = np.frombuffer(content, np.uint8, offset=len(header))
    return values.reshape(shape).copy()
