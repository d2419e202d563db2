"""A picture of what attacks make of a few examples."""

import os

from keras_split.audit.page import strip
from keras_split.audit.pictures import Pictures


def draw(pictures: Pictures, path: str | os.PathLike[str]) -> None:
    """Draws originals and reconstructions, a row each, as PNG.

    Args:
        pictures: What is drawn.
        path: Of the picture.
    """
    from matplotlib.figure import Figure

    several = len({row.trial for row in pictures.rows}) > 1
    rows = [("original", pictures.originals)]
    for row in pictures.rows:
        name = f"{row.attack}\n{row.trial}" if several else row.attack
        rows.append((name, row.images))
    shape = strip(pictures.originals).shape
    height = 6.0 * shape[0] / shape[1] + 0.08
    figure = Figure(figsize=(7.6, height * len(rows)), layout="constrained")
    for axes, (name, images) in zip(
        figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True
    ):
        axes.imshow(strip(images), interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(
            name, rotation=0, ha="right", va="center", parse_math=False
        )
    figure.savefig(path, dpi=100, format="png", metadata={"Software": None})
