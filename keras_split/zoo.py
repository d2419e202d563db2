"""Standard networks with splits that are ready to use.

A preset is data: which network, which cuts, and what they cost. Presets are
found through the entry-point group `keras_split.zoo`, so that a package of
yours can bring its own. Listing them loads neither Keras nor TensorFlow.
"""

import importlib
import importlib.resources
import json
import logging
import os
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from keras_split.compression import presets
from keras_split.compression.rules import Quantization
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.errors import ZooError
from keras_split.planner.candidates import Candidates
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
        candidates_file: What `keras_split.plan` knows of its cuts, as
            `"package:path in it"`: what `scripts/make_candidates.py` writes;
            empty if there is none, so that the network is built instead.
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
    candidates_file: str = ""

    def cut(self, name: str = DEFAULT_CUT) -> Cut:
        """A split by its name.

        Raises:
            ZooError: If there is none.
        """
        if name not in self.cuts:
            raise ZooError(
                f"Expected a cut of {self.name}: {', '.join(self.cuts)}; or "
                f"two layers, as in 'A,B'. Received: {name!r}. keras-split "
                f"plan {self.name} says which layers would do."
            )
        return self.cuts[name]

    def layers(self, cut: str | Sequence[Any] = DEFAULT_CUT) -> list[Any]:
        """What to name as `cut` in `keras_split.compile`.

        Args:
            cut: The name of a split; or layers, as in `compile` or as text:
                `"A,B"`, with `+` between several at one cut.

        Raises:
            ZooError: If there is no split of that name.
        """
        if not isinstance(cut, str):
            return list(cut)
        if "," not in cut:
            return list(self.cut(cut).layers)
        ends = [end.strip().split("+") for end in cut.split(",")]
        return [end[0] if len(end) == 1 else end for end in ends]

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
            seed: Makes random initial weights repeatable. What a phone and
                a server build of one seed they both know, see `load`.

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
        _check_weights(weights)
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
        self._load_weights(model, weights)
        return model

    def candidates(
        self,
        input_shape: tuple[int, int, int] | None = None,
        classes: int | None = None,
    ) -> Candidates:
        """The cuts that are worth a thought, for `keras_split.plan`.

        At the preset's own size and classes they are stored, and neither
        Keras nor TensorFlow is loaded. Its named cuts are among them.

        Args:
            input_shape: As in `build`.
            classes: As in `build`.

        Raises:
            ZooError: If size or classes do not fit the network.
            DataError: If the stored ones cannot be read.
        """
        own = tuple(input_shape or self.input_shape) == self.input_shape
        if self.candidates_file and own and classes in (None, self.classes):
            package, _, path = self.candidates_file.partition(":")
            file = importlib.resources.files(package) / path
            try:
                config = json.loads(file.read_text("utf-8"))
            except (OSError, ValueError) as error:
                raise DataError(
                    f"Expected the candidates of {self.name} in {file}. "
                    f"Received: {error}. Install the package again."
                ) from error
            return Candidates.from_config(config)
        model = self.build(input_shape=input_shape, classes=classes)
        return self.search(model)

    def search(self, model: "keras.Model") -> Candidates:
        """The same, of a model that `build` made."""
        from keras_split.planner.search import candidates_of

        named = {name: list(cut.layers) for name, cut in self.cuts.items()}
        found = candidates_of(model, named)
        return replace(found, model=self.name)

    def load(
        self,
        cut: str | Sequence[Any] = DEFAULT_CUT,
        *,
        quantization: str | Quantization | None = None,
        codec: str | None = None,
        bottleneck: int | None = None,
        fused_batchnorm: bool = True,
        class_names: Sequence[str] = (),
        secret: bytes | None = None,
        defenses: Sequence[Any] = (),
        **options: Any,
    ) -> "tuple[ClientModel, ServerModel]":
        """Builds the network and cuts it.

        Random initial weights of the body follow from `seed`, which server
        and phone may know both. Those of head and tail follow from `secret`
        instead, for a server that knows them reconstructs inputs far better;
        see `ClientModel.reinitialize`. With `weights` that is what the file
        does not have, such as a classifier for other classes; the rest knows
        who has the file.

        The client's `data_spec` says how the network wants images scaled, if
        that is `x @ matrix + offset`.

        Args:
            cut: Name of a split: `"spliteasy"`, `"deep"` or `"light"`; or
                layers, as in `layers`.
            quantization: Overrides the preset's.
            codec: As in `keras_split.compile`.
            bottleneck: As in `keras_split.compile`.
            fused_batchnorm: As in `keras_split.compile`, but for the default.
            class_names: Names of the classes in the order of their labels,
                for the client's `data_spec`; as many as `classes`, which may
                be left out then.
            secret: Of the phone: 16 bytes or more, for the same head and
                tail each time; by default 128 bits of the system's
                randomness.
            defenses: As in `keras_split.compile`.
            **options: As in `build`.

        Returns:
            `(client, server)`, as `keras_split.compile` returns them.

        Raises:
            OptionError: If the secret is too short; or if one is given, and
                the preset's network cannot be drawn from it. Without one the
                log warns of that.
        """
        from keras_split.compiler import compile

        if class_names and options.get("classes") is None:
            options["classes"] = len(class_names)
        weights = options.pop("weights", None)
        _check_weights(weights)
        model = self.build(**options)
        client, server = compile(
            model,
            self.layers(cut),
            quantization=quantization or self.quantization,
            codec=codec,
            bottleneck=bottleneck,
            fused_batchnorm=fused_batchnorm,
            data_spec=self.data_spec(class_names),
            defenses=defenses,
        )
        try:
            client.reinitialize(secret)
        except OptionError as error:
            if secret is not None:
                raise
            _LOG.warning(
                "head and tail have the initial weights that %s builds, which "
                "a server that builds it knows: %s",
                self.name,
                error,
            )
        self._load_weights(model, weights)
        return client, server

    def _load_weights(
        self, model: "keras.Model", weights: str | os.PathLike[str] | None
    ) -> None:
        """Loads what fits into the model, and the halves cut from it."""
        if weights is not None:
            from keras_split.models import initial_weights

            initial_weights.load(model, weights, resolve(self.model))

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
    halves = (partition.head, partition.tail)
    phone = [half.model for half in halves if half is not None]
    body = partition.body.model
    contract = partition.contract(Quantization())
    return Facts(
        phone_parameters=costs.parameters(phone),
        server_parameters=body.count_params(),
        phone_multiply_adds=sum(map(costs.multiply_adds, phone)),
        server_multiply_adds=costs.multiply_adds(body),
        smashed=tuple(s.shape for s in contract.smashed),
        features=tuple(s.shape for s in contract.features),
    )


def _check_weights(weights: str | os.PathLike[str] | None) -> None:
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise ZooError(
            "Expected weights=None, 'imagenet' or the path of a "
            ".weights.h5, .h5 or .keras file. Received: "
            f"{str(weights)!r}, which is no file."
        )
