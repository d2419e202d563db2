"""Presets as benchmarks train them: real images, SGD with momentum."""

import time
from typing import Any

import numpy as np

LEARNING_RATE = 0.001


def images(preset: str, size: int, count: int) -> tuple[Any, Any]:
    """Images of Fashion-MNIST as the network wants them, and their labels.

    Bytes after a lossless codec depend on what is seen; noise would lie.
    """
    from keras_split import datasets
    from keras_split import zoo

    (x, y), _ = datasets.fashion_mnist.load_subset()
    prepare = zoo.resolve(zoo.get(preset).preprocess)
    shape = (size, size, 3)
    return datasets.to_model_input(x[:count], shape, prepare), y[:count]


def whole(preset: str, size: int) -> Any:
    """The unsplit network, compiled."""
    from keras_split import zoo

    shape = (size, size, 3)
    return compiled(zoo.get(preset).build(input_shape=shape, seed=0))


def client(
    preset: str, size: int, how: dict[str, str], strategy: Any = None
) -> Any:
    """The phone's half, compiled.

    Args:
        preset: A preset.
        size: Of the images.
        how: Options of `keras_split.compile`; see `coding`.
        strategy: Speaks with the server.
    """
    from keras_split import zoo

    half, _ = zoo.load(preset, input_shape=(size, size, 3), seed=0, **how)
    return compiled(half, strategy=strategy)


def compiled(model: Any, **options: Any) -> Any:
    """A model with the optimizer and the loss of all benchmarks."""
    import keras

    model.compile(
        keras.optimizers.SGD(LEARNING_RATE, momentum=0.9),
        "sparse_categorical_crossentropy",
        **options,
    )
    return model


def coding(name: str) -> dict[str, str]:
    """Options of `compile` for a name such as `"int8"` or `"int4+zstd"`."""
    quantization, _, codec = name.partition("+")
    options = {"quantization": quantization}
    return options | ({"codec": codec} if codec else {})


def arguments(size: int, how: dict[str, str]) -> list[str]:
    """The same as options of `keras-split serve`."""
    options = {"input-size": str(size), **how}
    return [x for name, value in options.items() for x in (f"--{name}", value)]


def strategy(address: str, microbatches: int = 1) -> Any:
    """Speaks with a server behind a link, the batch in so many parts."""
    import keras_split

    # Between the two is a link that is emulated, so both are on one machine.
    return keras_split.SplitStrategy(
        f"grpc://{address}", microbatches=microbatches, overlap=True
    )


class Trainee:
    """A model that takes steps, timed, behind a link whose bytes are counted.

    Args:
        model: Compiled.
        link: Between it and its server; None for an unsplit model.
        x: The batch.
        y: Its labels.
    """

    def __init__(self, model: Any, link: Any, x: Any, y: Any) -> None:
        self._model, self._link = model, link
        self._batch = (x, y)
        self.seconds: list[float] = []
        self._bytes = (0, 0)

    def warm_up(self, steps: int = 3) -> None:
        """Traces the graphs."""
        for _ in range(steps):
            self._model.train_on_batch(*self._batch)

    def step(self) -> float:
        """Takes a step; returns its seconds."""
        before = self._counted()
        began = time.perf_counter()
        self._model.train_on_batch(*self._batch)
        self.seconds.append(time.perf_counter() - began)
        after = self._counted()
        self._bytes = (
            self._bytes[0] + after[0] - before[0],
            self._bytes[1] + after[1] - before[1],
        )
        return self.seconds[-1]

    @property
    def seconds_per_sample(self) -> float:
        """The median."""
        return float(np.median(self.seconds)) / len(self._batch[0])

    @property
    def bytes_per_sample(self) -> tuple[float, float]:
        """Up and down, on the socket, what frames them included."""
        samples = len(self._batch[0]) * len(self.seconds)
        up, down = self._bytes
        return up / samples, down / samples

    def _counted(self) -> tuple[int, int]:
        if self._link is None:
            return 0, 0
        return self._link.uplink_bytes, self._link.downlink_bytes
