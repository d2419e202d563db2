"""`keras-split demo`: a phone and a server learn real images together."""

import gzip
import importlib.util
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.table import Table

from keras_split import datasets
from keras_split import zoo
from keras_split.errors import BackendError
from keras_split.errors import TransportError
from keras_split.utils.extras import install
from keras_split_cli.console import load_keras
from keras_split_cli.console import out
from keras_split_cli.console import quietly
from keras_split_cli.console import size
from keras_split_cli.console import working
from keras_split_cli.image_data import scaling
from keras_split_cli.options import Network
from keras_split_cli.quantization_option import quantization_option

PRESET = "mobilenet_v2"
BATCH = 32
START_S = 120.0
PHONE_IMAGES = 640
# The command line where an import of TensorFlow or Keras fails.
_PHONE = """
import sys

sys.modules.update(tensorflow=None, keras=None)
from keras_split_cli.main import main

main()
"""


@click.command()
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Rounds over the training images.",
)
@click.option(
    "--images",
    type=click.IntRange(min=BATCH),
    default=6000,
    show_default=True,
    help="Training images to use.",
)
@quantization_option()
def demo(epochs: int, images: int, quantization: str) -> None:
    """Train a split network on real images, in two processes.

    Starts a server process, trains MobileNetV2 on Fashion-MNIST over gRPC
    with this process as the phone, and trains the same network unsplit on
    the same batches to compare. In the end a third process trains on with
    LiteRT alone. Takes a few minutes on two cores.
    """
    network = Network(
        preset=PRESET,
        cut=zoo.DEFAULT_CUT,
        input_size=32,
        classes=10,
        weights=None,
        # Keras' own 0.999 never catches up in a training this short.
        batchnorm_momentum=0.9,
        seed=0,
        quantization=quantization,
        codec=None,
    )
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise BackendError(
            "Expected LiteRT, for the demo's phone. Received: no package "
            f"ai_edge_litert. Run: {install('device')}"
        )
    out.print(
        "[bold]A phone and a server train MobileNetV2 together.[/]\n"
        "Images and labels stay in this process; only quantized cut-layer "
        "tensors cross.\n",
        soft_wrap=True,
    )
    with working("Starting the server process"):
        server = _Server(network)
    with server.running() as target:
        out.print(f"Server process {server.process.pid} listens on {target}.")
        both = _Demo(network, target)
        both.run(epochs, images)
        both.continue_on_phone()
    out.print(
        "\nNext: keras-split zoo list, and keras-split train --help for "
        "images of your own. With a browser as the phone:\n"
        "keras-split serve mobilenet_v2 --input-size 64 --web 8443, and open "
        "http://127.0.0.1:8443/ here.",
        soft_wrap=True,
    )


class _Demo:
    """The phone, and the unsplit network beside it."""

    def __init__(self, network: Network, target: str) -> None:
        with working("Loading Keras and building the network"):
            load_keras()
            self.client, server = network.load()
            self.whole = network.build()
        import keras

        from keras_split.client.strategy import SplitStrategy
        from keras_split.models.join import join

        joined = join(self.client, server)
        for layer in self.whole.layers:  # the same weights to begin with
            if layer.weights:
                layer.set_weights(joined.get_layer(layer.name).get_weights())

        self.client.compile(
            keras.optimizers.Adam(1e-3),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            strategy=SplitStrategy(f"grpc://{target}"),
        )
        self.whole.compile(
            keras.optimizers.Adam(1e-3),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        scale = scaling(self.client, network.preset, kept=True)
        self._target = target
        self._quantization = network.quantization
        train, test = datasets.load("fashion_mnist")
        self.train, self.test = (
            (datasets.to_model_input(x, network.input_shape, scale), y)
            for x, y in (train, test)
        )

    def run(self, epochs: int, images: int) -> None:
        """Trains both on the same batches, one epoch each in turn."""
        rng = np.random.default_rng(0)
        clocks = {"split": _clock(), "unsplit": _clock()}
        both = (("split", self.client), ("unsplit", self.whole))
        for epoch in range(epochs):
            order = rng.permutation(len(self.train[0]))[:images]
            x, y = self.train[0][order], self.train[1][order]
            for name, model in both:
                out.print(f"\n[bold]{name}[/]")
                model.fit(
                    x,
                    y,
                    batch_size=BATCH,
                    shuffle=False,
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    callbacks=[clocks[name]],
                    verbose=1 if out.is_terminal else 2,
                )
        out.print()
        scores = {}
        with working("Testing both on 2,000 images that neither has seen"):
            for name, model in both:
                scores[name] = model.evaluate(*self.test, verbose=0)[1]
        batch = self.train[0][:BATCH], self.train[1][:BATCH]
        with working("Counting the bytes of one step"):
            sizes = _Bytes(self.client, self.whole, batch)
        self.client.close()
        seconds = {name: clock.median_s() for name, clock in clocks.items()}
        _report(scores, seconds, sizes, self._quantization)

    def continue_on_phone(self) -> None:
        """Exports the phone's half and trains on with LiteRT alone."""
        out.print("\n[bold]The same half on a phone[/]")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "client.tflite")
            with working("Exporting it to LiteRT"), quietly():
                self.client.export(path, batch_size=BATCH)
            out.print(
                f"client.tflite: {size(path.stat().st_size)}, LiteRT's own "
                "operations alone. A process that cannot import TensorFlow "
                f"or Keras trains it on {PHONE_IMAGES} images:",
                soft_wrap=True,
            )
            ended = subprocess.run(
                [
                    *(sys.executable, "-c", _PHONE, "device", "train"),
                    *(str(path), "--server", self._target, "--epochs", "1"),
                    *("--images", str(PHONE_IMAGES)),
                    # Adam starts afresh, with large steps at first.
                    *("--learning-rate", "1e-4"),
                ],
            )
        if ended.returncode:
            raise BackendError(
                "Expected the phone to train with LiteRT alone. Received: its "
                f"process ended with {ended.returncode}, and said above why."
            )


def _clock() -> Any:
    """A callback that times steps."""
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[float] = []

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps.append(time.perf_counter() - self.began)

        def median_s(self) -> float:
            return float(np.median(self.steps))

    return Clock()


class _Bytes:
    """Bytes of one real training step, an image, as each protocol sends it.

    Attributes:
        counted: What our messages take, framing included, `(up, down)`.
        float32: The tensors of the same step, not quantized.
        spliteasy: These as SplitEasy sends them: JSON up, gzipped JSON down.
    """

    def __init__(self, client: Any, whole: Any, batch: Any) -> None:
        strategy = client.strategy
        before = strategy.uplink_bytes, strategy.downlink_bytes
        client.train_on_batch(*batch)
        after = strategy.uplink_bytes, strategy.downlink_bytes
        self.counted = (
            (after[0] - before[0]) / BATCH,
            (after[1] - before[1]) / BATCH,
        )
        up, down = _float32_step(whole, batch)
        self.float32 = (_nbytes(up) / BATCH, _nbytes(down) / BATCH)
        self.spliteasy = (
            len(_json(up)) / BATCH,
            len(gzip.compress(_json(down))) / BATCH,
        )


def _float32_step(whole: Any, batch: Any) -> tuple[list[Any], list[Any]]:
    """Takes one step unquantized; returns what went up and what came down."""
    from keras_split.client.strategy import SplitStrategy
    from keras_split.client.tap import SessionTap
    from keras_split.compiler import compile
    from keras_split.protocol.messages import Backward
    from keras_split.protocol.messages import Features
    from keras_split.protocol.messages import Forward
    from keras_split.protocol.messages import Message
    from keras_split.protocol.messages import SmashedGrad

    up: list[Any] = []
    down: list[Any] = []

    class Crossing(SessionTap):
        def sent(self, message: Message) -> None:
            if isinstance(message, (Forward, Backward)):
                up.extend(t.codes for t in message.tensors)

        def received(self, message: Message, reply: Message) -> None:
            if isinstance(reply, (Features, SmashedGrad)):
                down.extend(t.codes for t in reply.tensors)

    cut = list(zoo.get(PRESET).cut(zoo.DEFAULT_CUT).layers)
    twin, _ = compile(whole, cut, quantization="float32")
    twin.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        strategy=SplitStrategy(taps=[Crossing()]),
    )
    twin.train_on_batch(*batch)
    return up, down


def _nbytes(arrays: list[Any]) -> int:
    return sum(array.nbytes for array in arrays)


def _json(arrays: list[Any]) -> bytes:
    return b"".join(json.dumps(a.tolist()).encode() for a in arrays)


def _report(
    scores: dict[str, float],
    seconds: dict[str, float],
    sizes: _Bytes,
    quantization: str,
) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("", "split", "unsplit"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row(
        "test accuracy",
        *(f"{100 * scores[name]:.1f} %" for name in ("split", "unsplit")),
    )
    table.add_row(
        "median step (32 images)",
        *(f"{1000 * seconds[n]:.0f} ms" for n in ("split", "unsplit")),
    )
    out.print(table)
    out.print()
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("bytes per image", "up", "down", "times more"):
        table.add_column(
            column, justify="left" if column[0] == "b" else "right"
        )
    ours = sum(sizes.counted)
    for name, pair in (
        (f"keras_split, {quantization}", sizes.counted),
        ("the same step as float32", sizes.float32),
        ("the same step as SplitEasy's JSON", sizes.spliteasy),
    ):
        up, down = pair
        table.add_row(name, size(up), size(down), f"{(up + down) / ours:.1f}")
    out.print(table)
    out.print(
        f"\nThe split step takes {seconds['split'] / seconds['unsplit']:.2f} "
        "times the unsplit one, with both parties on this machine.",
        soft_wrap=True,
    )


class _Server:
    """`keras-split serve` in a process of its own."""

    def __init__(self, network: Network) -> None:
        self._log = tempfile.TemporaryFile("w+", prefix="keras_split-")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "keras_split_cli",
                "serve",
                *network.arguments(),
                "--port",
                "0",
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    @contextmanager
    def running(self) -> Iterator[str]:
        """Waits until it listens; stops it in the end."""
        try:
            yield self._target()
        finally:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self._log.close()

    def _target(self) -> str:
        assert self.process.stdout is not None
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        stdout = self.process.stdout

        def read() -> None:
            for line in stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        try:
            line = lines.get(timeout=START_S)
        except queue.Empty:
            line = ""
        if not line.startswith("Serving"):
            self._log.seek(0)
            raise TransportError(
                "Expected the server process to listen. Received: "
                f"{line or 'nothing'!r}. Its log: {self._log.read()[-2000:]}"
            )
        return line.split()[-1]
