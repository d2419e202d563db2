"""Split steps as a plan foresees them, and as they are: one cut at a time."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _link import Link
from _link import Profile as Line
from _server_process import serving

from keras_split.compression import presets
from keras_split.planner import Candidates
from keras_split.planner import Profile
from keras_split.planner.link import Link as Network
from keras_split.planner.scored import Setting
from keras_split.planner.scored import score

PHONE = Path(__file__).with_name("_planned_phone.py")
# The phone has one core, so that server and link have the other.
THREADS = 1
WARM_UP = 2
CLASSES = 10
# So small that random labels lead nowhere.
LEARNING_RATE = 1e-6


@dataclass(frozen=True)
class Case:
    """A cut of a network, at one batch.

    Attributes:
        network: A preset, or `"unet"`.
        size: Of the images.
        first: Layers at the first cut, with `+` between them.
        second: At the second.
        batch: Examples of a step.
    """

    network: str
    size: int
    first: str
    second: str
    batch: int

    @property
    def cut(self) -> list[Any]:
        """As `keras_split.compile` takes it."""
        ends = [end.split("+") for end in (self.first, self.second)]
        return [end[0] if len(end) == 1 else end for end in ends]

    @property
    def label(self) -> str:
        """The cut layers."""
        return f"{self.first}, {self.second}"

    @property
    def stem(self) -> str:
        """Of its files."""
        parts = (self.network, self.size, self.first, self.second, self.batch)
        return "-".join(str(part).replace("#", "") for part in parts)[:200]


def build(network: str, size: int) -> Any:
    """The Keras model."""
    import keras

    from keras_split import zoo

    keras.backend.clear_session()
    if network == "unet":
        return unet(size)
    shape = (size, size, 3)
    return zoo.get(network).build(input_shape=shape, classes=CLASSES, seed=0)


def unet(size: int) -> Any:
    """Four levels, 16 to 128 channels, and a mask."""
    import keras
    from keras import layers

    def twice(x: Any, width: int, name: str) -> Any:
        for number in (1, 2):
            x = layers.Conv2D(
                width, 3, padding="same", name=f"{name}_conv{number}"
            )(x)
            x = layers.BatchNormalization(name=f"{name}_bn{number}")(x)
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
        return x

    image = x = keras.Input((size, size, 3), name="image")
    kept = []
    for level, width in enumerate((16, 32, 64)):
        x = twice(x, width, f"down{level}")
        kept.append(x)
        x = layers.MaxPooling2D(name=f"pool{level}")(x)
    x = twice(x, 128, "deep")
    for level, width in reversed(list(enumerate((16, 32, 64)))):
        x = layers.UpSampling2D(name=f"up{level}")(x)
        x = layers.Concatenate(name=f"join{level}")([x, kept[level]])
        x = twice(x, width, f"mix{level}")
    x = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    return keras.Model(image, x, name="unet")


class Prepared:
    """A cut with its files: exported once, and kept in a folder.

    Args:
        case: The cut.
        folder: Of the files.
        model: The network; built if it is not given.
    """

    def __init__(self, case: Case, folder: Path, model: Any = None) -> None:
        self.case = case
        self._model = model
        self.path = folder / f"{case.stem}.step.tflite"
        half = f"{case.network}-{case.size}-{case.label}.server.keras"
        self._server = folder / half.replace("#", "").replace(", ", "-")
        self._data = folder / f"{case.stem}.npz"
        self._facts = folder / f"{case.stem}.facts.json"
        self._halves: Any = None

    @property
    def there(self) -> bool:
        """Whether the files are."""
        return self._facts.exists() and self._server.exists()

    def compiled(self) -> Any:
        """The phone's half and the server's, of the same weights."""
        import keras

        import keras_split

        if self._halves is None:
            if self._model is None:
                self._model = build(self.case.network, self.case.size)
            client, server = keras_split.compile(
                self._model, self.case.cut, quantization="int8"
            )
            client.compile(
                keras.optimizers.SGD(LEARNING_RATE, momentum=0.9),
                loss="binary_crossentropy"
                if self.case.network == "unet"
                else "sparse_categorical_crossentropy",
            )
            self._halves = client, server
        return self._halves

    def prepare(self) -> None:
        """Exports the phone's half, and says what the parts do."""
        if not self._server.exists():
            self.compiled()[1].save(self._server)
        if self._facts.exists():
            return
        from keras_split.planner.search import facts_of

        self.compiled()[0].export(self.path, batch_size=self.case.batch)
        chance = np.random.default_rng(0)
        rows, size = self.case.batch, self.case.size
        x = chance.random((rows, size, size, 3), np.float32)
        if self.case.network == "unet":
            y = chance.integers(0, 2, (rows, size, size, 1)).astype("float32")
        else:
            y = chance.integers(0, CLASSES, rows).astype("int32")
        np.savez(self._data, x=x, y=y)
        facts = facts_of(self._model, {self.case.label: self.case.cut})
        self._facts.write_text(json.dumps(facts.get_config()))

    def predict(
        self, phone: Profile, server: Profile, links: list[str]
    ) -> dict[str, Any]:
        """What the planner says of a step over each of the links."""
        facts = Candidates.from_config(json.loads(self._facts.read_text()))
        (cut,) = facts.cuts
        coding, batch = presets.get("int8"), self.case.batch
        steps = {}
        for link in links:
            setting = Setting(
                *(phone, server, Network.parse(link), coding, batch), 1, 1
            )
            made = score(cut, facts.depth(cut), setting)
            steps[link] = made.seconds
        return {
            "steps": steps,
            "phone": made.phone_seconds,
            "server": made.server_seconds,
            "peak_bytes": made.memory_bytes,
            "bytes": batch * made.bytes_per_sample,
        }

    def measure(self, links: list[str], steps: int) -> dict[str, Any]:
        """Takes steps with a server over each of the links in turn."""
        with (
            serving(str(self._server)) as target,
            Link(target) as line,
            _Phone(self.path, self._data, line.address) as phone,
        ):
            phone.take(WARM_UP)  # without a link
            bare = phone.take(steps)
            seconds, moved, own = {}, [], []
            for link in links:
                line.profile = emulated(link)
                phone.take(1)
                before = line.uplink_bytes + line.downlink_bytes
                told = phone.take(steps)
                after = line.uplink_bytes + line.downlink_bytes
                seconds[link] = float(np.median(told["seconds"]))
                moved.append((after - before) / steps)
                own.append(told["own"] / steps)
        return {
            "steps": seconds,
            "phone": float(np.median(own)),
            # And what it takes to bring messages to it, without a link.
            "server": float(np.median(bare["seconds"])) - bare["own"] / steps,
            "peak_bytes": told["peak_bytes"],
            "bytes": float(np.median(moved)),
        }


def emulated(link: str) -> Line:
    """A link as planned, for the proxy that stands for it."""
    parsed = Network.parse(link)
    return Line(
        parsed.uplink / 1e6, parsed.downlink / 1e6, 1e3 * parsed.round_trip
    )


class _Phone:
    """A process that takes steps."""

    def __init__(self, path: Path, data: Path, target: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PHONE), str(path), str(data), target]
            + [str(THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def take(self, steps: int) -> dict[str, Any]:
        """Some steps."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def __enter__(self) -> "_Phone":
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)
