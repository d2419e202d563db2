"""What int8 costs the phone's half, in accuracy, and what it saves in bytes.

    python benchmarks/int8.py                        # everything
    python benchmarks/int8.py --preset mobilenet_v2  # one network
    python benchmarks/int8.py --no-accuracy          # errors and sizes only

Errors: each preset at 96x96 with random weights, whose BatchNorm statistics
come from real images; cut with float32, so that nothing but the half's own
rounding is measured. The error is RMSE(int8 - float) / std(float) over test
images of Fashion-MNIST. For quantization-aware training it is measured
against the outputs before it.

Accuracy: MobileNetV2 and ResNet50 at 32x32, trained on the 6,000 images that
come with keras_split, then cut in two ways; head and tail run in LiteRT, the
body on the server, and int8 codes travel. Calibration and quantization-aware
training see training images only. One changed answer of the 10,000 is 0.01
points; "other" counts all answers that int8 changes, right or wrong, and so
is less a matter of luck than the accuracy.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _report import Report
from _report import write_option
from ai_edge_litert.interpreter import Interpreter

import keras_split
from keras_split import datasets
from keras_split import zoo
from keras_split.litert.calibration import observe
from keras_split.litert.inference import export_inference
from keras_split.litert.precision import PRECISIONS
from keras_split.litert.qat import quantize_aware
from keras_split.litert.signature_io import SignatureIO
from keras_split.litert.signature_io import part_names

CALIBRATION = 128
FIT: dict[str, Any] = {"epochs": 2}
CUTS = ("spliteasy", "deep")
# Epochs and Adam's first learning rate; it falls to nothing.
TRAINING = {"mobilenet_v2": (8, 2e-3), "resnet50": (4, 1e-3)}


class Phone:
    """Head and tail in LiteRT, as `client.export` wrote them."""

    def __init__(self, client: Any, batch_size: int, **options: Any) -> None:
        self.client, self.batch_size = client, batch_size
        boundary = SignatureIO(client)
        self.smashed, self.features = boundary.smashed, boundary.features
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "client.tflite"
            export_inference(client, path, batch_size=batch_size, **options)
            content = path.read_bytes()
        self.nbytes = len(content)
        interpreter = Interpreter(model_content=content, num_threads=2)
        self._head = interpreter.get_signature_runner("head_infer")
        self._tail = interpreter.get_signature_runner("tail_infer")

    def head(self, **tensors: Any) -> list[np.ndarray]:
        """Parts of the smashed data."""
        made = self._head(**tensors)
        return [made[name] for name in part_names("smashed", self.smashed)]

    def tail(self, **tensors: Any) -> np.ndarray:
        """Predictions."""
        return self._tail(**tensors)["prediction_0"]

    def classes(self, x: np.ndarray) -> np.ndarray:
        """The class of each image, with the body on the server."""
        found = []
        self.client.connect()
        names = part_names("features", self.features)
        for start in range(0, len(x), self.batch_size):
            parts = self.head(x_0=x[start : start + self.batch_size])
            reply, _ = self.client.strategy.infer(self.smashed.wrap(parts))
            values = self.features.unwrap(reply)
            made = self.tail(**dict(zip(names, values, strict=True)))
            found.append(made.argmax(1))
        return np.concatenate(found)


def images(
    preset: Any, size: int, *, whole_test: bool
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Training and test images as the network wants them."""
    train, test = datasets.fashion_mnist.load_subset()
    if whole_test:
        _, test = datasets.fashion_mnist.load_full()
    else:
        train, test = (a[:1024] for a in train), (a[:256] for a in test)
    prepare = zoo.resolve(preset.preprocess)
    shape = (size, size, 3)
    (x, y), (x_test, y_test) = train, test
    return (
        (datasets.to_model_input(x, shape, prepare), y),
        (datasets.to_model_input(x_test, shape, prepare), y_test),
    )


def errors(name: str, seed: int, report: Report) -> None:
    """One row of the table of errors and sizes."""
    keras.backend.clear_session()
    preset = zoo.get(name)
    (x, _), (x_test, _) = images(preset, 96, whole_test=False)
    model = preset.build(
        input_shape=(96, 96, 3), batchnorm_momentum=0.0, seed=seed
    )
    model(x[:64], training=True)  # momentum 0: statistics of these images
    client, _ = keras_split.compile(
        model, list(preset.cut().layers), quantization="float32"
    )
    calibration = x[:CALIBRATION]
    phones = {
        precision: Phone(
            client, 1, precision=precision, calibration=calibration
        )
        for precision in PRECISIONS
    }
    examples = observe(client, x_test)
    before = [phones["float32"].head(**b)[0] for b in examples["head_infer"]]
    answers = [phones["float32"].tail(**b) for b in examples["tail_infer"]]

    def measure(phone: Phone) -> tuple[float, float]:
        made = [phone.head(**b)[0] for b in examples["head_infer"]]
        said = [phone.tail(**b) for b in examples["tail_infer"]]
        return relative(made, before), relative(said, answers)

    post = measure(phones["int8"])
    start = time.perf_counter()
    quantize_aware(client, x, **FIT)
    seconds = time.perf_counter() - start
    aware = measure(Phone(client, 1, precision="int8", calibration=calibration))
    found = (post[0], aware[0], post[1], aware[1])
    report.row(
        name,
        *(f"{error:.4f}" for error in found),
        f"{seconds:.0f}",
        *(f"{p.nbytes / 1e3:.1f}" for p in phones.values()),
    )


def relative(made: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """RMSE over the spread of what was expected."""
    a, b = np.concatenate(made), np.concatenate(expected)
    return float(np.sqrt(np.mean((a - b) ** 2)) / b.std())


def accuracies(name: str, seed: int, cuts: list[str], report: Report) -> None:
    """Rows of the table of accuracies: one network, one seed, each cut."""
    keras.backend.clear_session()
    preset = zoo.get(name)
    (x, y), (x_test, y_test) = images(preset, 32, whole_test=True)
    epochs, rate = TRAINING[name]
    model = preset.build(
        input_shape=(32, 32, 3), batchnorm_momentum=0.9, seed=seed
    )
    batch = 64
    schedule = keras.optimizers.schedules.CosineDecay(
        rate, epochs * -(-len(x) // batch)
    )
    # As one model: a split model computes the same, and this is quicker.
    model.compile(
        keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy"
    )
    model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
    trained = model.get_weights()
    for cut in cuts:
        model.set_weights(trained)
        client, _ = keras_split.compile(model, list(preset.cut(cut).layers))

        options = {"batch_size": 100, "calibration": x[:CALIBRATION]}
        plain = Phone(client, **options).classes(x_test)
        post = Phone(client, precision="int8", **options).classes(x_test)
        quantize_aware(client, x[:1024], **FIT)
        aware = Phone(client, precision="int8", **options).classes(x_test)
        client.close()
        right = [100 * np.mean(c == y_test) for c in (plain, post, aware)]
        other = [100 * np.mean(c != plain) for c in (post, aware)]
        made = [f"{value:.2f}" for value in (*right, *other)]
        report.row(name, cut, seed, *made)


def main() -> None:
    """Prints both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=zoo.names("images"))
    parser.add_argument("--no-accuracy", action="store_true")
    parser.add_argument("--no-errors", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cuts", nargs="*", choices=CUTS, default=CUTS)
    write_option(parser)
    args = parser.parse_args()
    report = Report("int8", write=args.write)
    names = [args.preset] if args.preset else zoo.names("images")
    if not args.no_errors:
        report.say(
            "Error of the outputs, relative to their spread, on real images "
            "at 96x96 (random weights, BatchNormalization statistics of real "
            "images, float32 on the link), and size of the file:"
        )
        report.header(
            *("network", "head, post-training:", "head, aware:"),
            *("tail, post-training:", "tail, aware:", "fit s:"),
            *("float32 kB:", "float16 kB:", "dynamic kB:", "int8 kB:"),
        )
        for name in names:
            errors(name, 0, report)
        report.end()
    trained = [name for name in names if name in TRAINING]
    if trained and not args.no_accuracy:
        report.say(
            "Accuracy of trained networks at 32x32 on 10,000 test images, the "
            "phone's half in LiteRT, int8 on the link:"
        )
        report.header(
            *("network", "cut", "seed:", "float32 %:"),
            *("int8, post-training %:", "int8, aware %:"),
            *("other answers than float32, post-training %:",),
            "other answers, aware %:",
        )
        for name in trained:
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                accuracies(name, seed, args.cuts, report)
        report.end()
    report.close()


if __name__ == "__main__":
    main()
