"""Makes the sample images of the page in web/app from the subset we ship.

Run from anywhere, with Pillow installed:

    python scripts/make_sample_sprite.py

One gray PNG: a row of 28x28 images for each class of Fashion-MNIST, the first
20 of them from its training set, the other 10 from its test set.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keras_split.datasets import fashion_mnist

TO_TRAIN = 20
TO_TRY = 10
PATH = (
    Path(__file__).resolve().parents[1]
    / "web/app/src/train/samples/fashion_mnist.png"
)


def make_sprite() -> NDArray[np.uint8]:
    """Returns the picture, uint8 of shape `(10 * 28, 30 * 28)`."""
    (x, y), (x_test, y_test) = fashion_mnist.load_subset()
    rows = []
    for label in range(len(fashion_mnist.CLASS_NAMES)):
        train, test = x[y == label][:TO_TRAIN], x_test[y_test == label][:TO_TRY]
        rows.append(np.hstack([*train, *test]))
    return np.vstack(rows)


def main() -> None:
    """Writes the file."""
    PATH.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_sprite()).save(PATH, optimize=True)
    print(f"{PATH}: {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
