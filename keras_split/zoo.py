"""Standard networks with splits that are ready to use.

A preset is data: which network, which cuts, and what they cost. Presets are
found through the entry-point group `keras_split.zoo`, so that a package of
yours can bring its own. Listing them loads neither Keras nor TensorFlow.
"""

import importlib
import logging
import os
import re
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from keras_split.compression import presets
from keras_split.compression.rules import Quantization
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import DataError
from keras_split.errors import ZooError
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_spec import DataSpec

if TYPE_CHECKING:
    import keras

    from keras_split.models import ClientModel
    from keras_split.models import ServerModel

GROUP = "keras_split.zoo"
_LOG = logging.getLogger("keras_split")
DEFAULT_CUT = "spliteasy"
CUT_NAMES = ("spliteasy", "deep", "light")


@dataclass(frozen=True)
class Facts:
    """What a cut costs at the preset's own input size and class count.

    Attributes:
        phone_parameters: Parameters of head and tail.
        server_parameters: Parameters of the body.
        phone_multiply_adds: Of head and tail, one forward pass.
        server_multiply_adds: Of the body, one forward pass.
        smashed: Shapes of the tensors from phone to server.
        features: Shapes of the tensors from server to phone.
    """

    phone_parameters: int
    server_parameters: int
    phone_multiply_adds: int
    server_multiply_adds: int
    smashed: tuple[tuple[int, ...], ...]
    features: tuple[tuple[int, ...], ...]

    def bytes_per_sample(
        self,
        quantization: str | Quantization,
        batch: int = 16,
        **frozen: bool,
    ) -> tuple[float, float]:
        """Payload bytes of a training step `(uplink, downlink)` a sample.

        Before the codec, which makes them fewer.

        Args:
            quantization: How tensors lose precision.
            batch: Examples in it.
            **frozen: `frozen_head` and `frozen_body`, as in
                `Contract.bytes_per_sample`.
        """
        coding = presets.get(quantization)

        def specs(shapes: tuple[tuple[int, ...], ...]) -> Any:
            return tuple(TensorSpec("", coding.shape(s)) for s in shapes)

        contract = Contract(
            *("", (), specs(self.smashed), specs(self.features)),
            coding.quantization,
        )
        return contract.bytes_per_sample(batch, **frozen)


@dataclass(frozen=True)
class Cut:
    """A named split of a preset: two cut layers and what they cost."""

    layers: tuple[str, str]
    facts: Facts


@dataclass(frozen=True)
class Preset:
    """A zoo entry.

    Attributes:
        name: Its name on the command line.
        summary: One sentence for `keras-split zoo list`.
        model: Where its builder is, as `"module:function"`; called with
            `input_shape`, `classes` and `weights` as in keras.applications.
        preprocess: The network's own scaling of images with values from 0 to
            255, as `"module:function"`.
        cuts: Named splits; `"spliteasy"` is the default.
        input_shape: The input size that the facts are for.
        min_size: The smallest input the network allows.
        classes: The class count that the facts are for.
        quantization: The quantization that `load` uses by default.
        paper: Where the network was published.
    """

    name: str
    summary: str
    model: str
    preprocess: str
    cuts: Mapping[str, Cut]
    input_shape: tuple[int, int, int] = (224, 224, 3)
    min_size: int = 32
    classes: int = 10
    quantization: Quantization = field(default_factory=Quantization)
    paper: str = ""

    def cut(self, name: str = DEFAULT_CUT) -> Cut:
        """A split by its name.

        Raises:
            ZooError: If there is none.
        """
        if name not in self.cuts:
            raise ZooError(
                f"Expected a cut of {self.name}: {', '.join(self.cuts)}. "
                f"Received: {name!r}."
            )
        return self.cuts[name]

    def build(
        self,
        *,
        input_shape: tuple[int, int, int] | None = None,
        classes: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        batchnorm_momentum: float | None = None,
        seed: int | None = None,
    ) -> "keras.Model":
        """The whole network as a Keras model.

        Args:
            input_shape: Height, width and channels; the preset's by default.
            classes: Number of classes; the preset's by default.
            weights: None for random ones; `"imagenet"`; or the path of a
                `.weights.h5`, `.h5` or `.keras` file. Every layer whose name
                and shape fit starts from it: with other classes than the
                file has, all but the classifier. The log says which did not.
            batchnorm_momentum: Momentum of moving statistics in every
                BatchNormalization. Keras' MobileNetV2 keeps 0.999, which a
                short training never catches up with; 0.9 does.
            seed: Makes random initial weights repeatable, so that phone and
                server can build the same model.

        Raises:
            ZooError: If size, classes or weights do not fit the network.
        """
        import keras

        shape = tuple(input_shape or self.input_shape)
        classes = self.classes if classes is None else classes
        if len(shape) != 3 or min(shape[:2]) < self.min_size or shape[2] != 3:
            raise ZooError(
                f"Expected an input of (height, width, 3) for {self.name}, "
                f"{self.min_size} or more each. Received: {shape}. Resize "
                "the images, and repeat one channel three times."
            )
        if classes < 1:
            raise ZooError(
                f"Expected 1 class or more. Received: classes={classes}."
            )
        if weights not in (None, "imagenet") and not Path(weights).is_file():
            raise ZooError(
                "Expected weights=None, 'imagenet' or the path of a "
                ".weights.h5, .h5 or .keras file. Received: "
                f"{str(weights)!r}, which is no "
                "file."
            )
        if batchnorm_momentum is not None and not 0 <= batchnorm_momentum < 1:
            raise ZooError(
                "Expected a batchnorm_momentum of 0 or more and below 1. "
                f"Received: {batchnorm_momentum}."
            )
        if seed is not None:
            keras.utils.set_random_seed(seed)
        builder = resolve(self.model)
        model = builder(input_shape=shape, classes=classes, weights=None)
        if batchnorm_momentum is not None:
            for layer in model.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.momentum = batchnorm_momentum
        if weights == "imagenet":
            _load_imagenet(builder, model, shape, classes)
        elif weights is not None:
            _load_file(model, weights)
        return model

    def load(
        self,
        cut: str = DEFAULT_CUT,
        *,
        quantization: str | Quantization | None = None,
        codec: str | None = None,
        bottleneck: int | None = None,
        fused_batchnorm: bool = True,
        class_names: Sequence[str] = (),
        **options: Any,
    ) -> "tuple[ClientModel, ServerModel]":
        """Builds the network and cuts it.

        The client's `data_spec` says how the network wants images scaled, if
        that is `x @ matrix + offset`.

        Args:
            cut: Name of a split: `"spliteasy"`, `"deep"` or `"light"`.
            quantization: Overrides the preset's.
            codec: As in `keras_split.compile`.
            bottleneck: As in `keras_split.compile`.
            fused_batchnorm: As in `keras_split.compile`, but for the default.
            class_names: Names of the classes in the order of their labels,
                for the client's `data_spec`; as many as `classes`, which may
                be left out then.
            **options: As in `build`.

        Returns:
            `(client, server)`, as `keras_split.compile` returns them.
        """
        from keras_split.compiler import compile

        if class_names and options.get("classes") is None:
            options["classes"] = len(class_names)
        return compile(
            self.build(**options),
            list(self.cut(cut).layers),
            quantization=quantization or self.quantization,
            codec=codec,
            bottleneck=bottleneck,
            fused_batchnorm=fused_batchnorm,
            data_spec=self.data_spec(class_names),
        )

    def data_spec(self, class_names: Sequence[str] = ()) -> DataSpec:
        """What its client says of its data; without a matrix if it has none.

        Args:
            class_names: Names of the classes, if they are known.
        """
        named = DataSpec(tuple(class_names))
        try:
            return DataSpec.of(resolve(self.preprocess), named.class_names)
        except DataError:
            return named


def names() -> list[str]:
    """Names of all presets that are installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def get(name: str) -> Preset:
    """A preset by its name.

    Raises:
        ZooError: If there is none.
    """
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            preset = entry.load()
            if isinstance(preset, Preset):
                return preset
    raise ZooError(
        f"Expected a preset: {', '.join(names())}. Received: {name!r}. See "
        "keras-split zoo list."
    )


def load(name: str, *args: Any, **options: Any) -> Any:
    """`get(name).load(...)`: client and server of a preset."""
    return get(name).load(*args, **options)


def resolve(path: str) -> Any:
    """The object behind `"module:name"`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def compute_facts(model: "keras.Model", cut: Any) -> Facts:
    """Computes the facts of a cut; presets carry them as data."""
    from keras_split.partition import costs
    from keras_split.partition.partition import Partition

    partition = Partition(model, cut)
    phone = [s for s in (partition.head, partition.tail) if s is not None]
    body = partition.body.model
    contract = partition.contract(Quantization())
    return Facts(
        phone_parameters=sum(s.model.count_params() for s in phone),
        server_parameters=body.count_params(),
        phone_multiply_adds=sum(costs.multiply_adds(s.model) for s in phone),
        server_multiply_adds=costs.multiply_adds(body),
        smashed=tuple(s.shape for s in contract.smashed),
        features=tuple(s.shape for s in contract.features),
    )


def _load_imagenet(
    builder: Any, model: Any, shape: tuple[int, ...], classes: int
) -> None:
    """Copies ImageNet weights layer by layer, where shapes fit."""
    whole = classes == 1000
    try:
        donor = builder(
            include_top=whole,
            weights="imagenet",
            input_shape=None if whole else shape,
        )
    except Exception as error:  # Keras raises a bare one
        raise ZooError(_not_downloaded(error)) from error
    # Layers correspond in order; the classifier has no donor.
    for source, target in zip(donor.layers, model.layers, strict=False):
        values = source.get_weights()
        fits = [v.shape for v in values] == [
            tuple(v.shape) for v in target.weights
        ]
        if values and fits and type(source) is type(target):
            target.set_weights(values)


def _load_file(model: Any, path: str | os.PathLike[str]) -> None:
    """Loads what fits of a file, and logs what does not."""
    from keras_split.models.weight_files import load_weights

    try:
        loaded = load_weights(model, path)
    except DataError as error:
        raise ZooError(str(error)) from error
    level = logging.WARNING if loaded.skipped else logging.INFO
    _LOG.log(level, "%s", loaded)


def _not_downloaded(error: Exception) -> str:
    """Says how to have the ImageNet weights without a download."""
    expected = "Expected to download the ImageNet weights of Keras. Received: "
    found = re.search(r"URL fetch failure on (\S+): ", str(error))
    if found is None:
        return (
            f"{expected}{error} Look at the connection, or give the path of a "
            ".weights.h5, .h5 or .keras file."
        )
    url = found[1]
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    place = Path(home) / "models" / url.rpartition("/")[2]
    return (
        f"{expected}{str(error).rpartition(' -- ')[2] or 'no answer'}. Fetch "
        f"{url} where there is a connection, and put it to {place}; or pass "
        "the file as weights."
    )
