"""A network on Fashion-MNIST, whole or cut, for `paper.py`."""

from typing import Any

import numpy as np
from _paper_cases import Case
from _paper_networks import WHOLE

RATE = 1e-3


def train(case: Case, epochs: int, full: bool) -> dict[str, Any]:
    """Trains once.

    For a seed all ways start from the same weights and see the same batches.

    Args:
        case: The way is `"whole"`, or the quantization of what crosses.
        epochs: How many.
        full: All 60,000 images, or the 6,000 that come with keras_split.

    Returns:
        After each epoch, the accuracy on the test images and the loss of
        training; and how many images there were.
    """
    import keras

    from keras_split import compile as split
    from keras_split import datasets
    from keras_split import zoo

    keras.backend.clear_session()
    preset = zoo.get(case.network)
    shape = (case.size, case.size, 3)
    prepare = zoo.resolve(preset.preprocess)
    model: Any = preset.build(
        input_shape=shape, seed=case.seed, batchnorm_momentum=0.9
    )
    if case.way != WHOLE:
        model, _ = split(model, preset.layers(), quantization=case.way)
    pairs = datasets.load(subset=not full)
    (x, y), (x_test, y_test) = (
        (datasets.to_model_input(images, shape, prepare), labels)
        for images, labels in pairs
    )
    steps = epochs * -(-len(x) // case.batch)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    chance = np.random.default_rng(case.seed)
    scores, losses = [], []
    for epoch in range(epochs):
        order = chance.permutation(len(x))
        history = model.fit(
            x[order],
            y[order],
            batch_size=case.batch,
            shuffle=False,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=0,
        )
        losses.append(float(history.history["loss"][-1]))
        scores.append(
            float(model.evaluate(x_test, y_test, batch_size=250, verbose=0)[1])
        )
    if case.way != WHOLE:
        model.close()
    return {
        "accuracy": scores,
        "loss": losses,
        "images": len(x),
        "tested": len(x_test),
    }
