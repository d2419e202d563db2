"""Makes keras_split/datasets/fashion_mnist_8k.npz from all of Fashion-MNIST.

Run from anywhere, with the Debian package `dataset-fashion-mnist` installed
or Keras able to download the set:

    python scripts/make_fashion_mnist_subset.py

The file is a plain .npz with deflate, 3.5 MB. LZMA in the same container
takes 3.0 MB, but Pythons are built without it and none without deflate.
"""

import io
import zipfile

import numpy as np
from numpy.typing import NDArray

from keras_split.datasets import fashion_mnist

TRAIN_PER_CLASS = 600
TEST_PER_CLASS = 200
SEED = 0


def choose(
    labels: NDArray[np.uint8], per_class: int, rng: np.random.RandomState
) -> NDArray[np.intp]:
    """Draws as many examples of each class and keeps them in their order."""
    return np.sort(
        np.concatenate(
            [
                rng.permutation(np.flatnonzero(labels == label))[:per_class]
                for label in range(len(fashion_mnist.CLASS_NAMES))
            ]
        )
    )


def make_subset() -> dict[str, NDArray[np.uint8]]:
    """Returns the arrays of the file by name."""
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_full()
    # RandomState's stream never changes; a Generator's may (NEP 19).
    rng = np.random.RandomState(SEED)
    train = choose(y_train, TRAIN_PER_CLASS, rng)
    test = choose(y_test, TEST_PER_CLASS, rng)
    return {
        "x_train": x_train[train],
        "y_train": y_train[train],
        "x_test": x_test[test],
        "y_test": y_test[test],
    }


def main() -> None:
    """Writes the file and prints its size."""
    with zipfile.ZipFile(
        fashion_mnist.SUBSET_PATH,
        "w",
        zipfile.ZIP_DEFLATED,
        compresslevel=9,
    ) as archive:
        for name, array in make_subset().items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            # A ZipInfo has a fixed date, so the same data is the same file.
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content.getvalue(), compresslevel=9)
    size = fashion_mnist.SUBSET_PATH.stat().st_size
    print(f"{fashion_mnist.SUBSET_PATH.name}: {size:,} bytes")


if __name__ == "__main__":
    main()
