"""Networks that take images, as those of keras.applications."""

import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar
from typing import Self

from keras_split.errors import DataError
from keras_split.errors import ZooError
from keras_split.planner.candidates import Candidates
from keras_split.protocol.data_spec import DataSpec
from keras_split.utils.counted import counted
from keras_split.zoo.lookup import resolve
from keras_split.zoo.preset import Preset
from keras_split.zoo.preset import Weights

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class ImagePreset(Preset):
    """A zoo entry that takes images.

    Attributes:
        model: Where its builder is, as `"module:function"`; called with
            `input_shape`, `classes` and `weights` as in keras.applications.
        preprocess: The network's own scaling of images with values from 0 to
            255, as `"module:function"`.
        input_shape: The input size that the facts are for.
        min_size: The smallest input the network allows.
        classes: The class count that the facts are for.
        candidates_file: What `keras_split.plan` knows of its cuts, as
            `"package:path in it"`: what `scripts/make_candidates.py` writes;
            empty if there is none, so that the network is built instead.
    """

    KIND: ClassVar[str] = "images"
    OPTIONS: ClassVar[tuple[str, ...]] = (
        *("input_shape", "classes", "weights", "batchnorm_momentum", "seed"),
    )

    preprocess: str
    input_shape: tuple[int, int, int] = (224, 224, 3)
    min_size: int = 32
    classes: int = 10
    candidates_file: str = ""

    @property
    def example(self) -> str:
        """As in `Preset`."""
        height, width, _ = self.input_shape
        count = counted(self.classes, "class", "classes")
        return f"{height}x{width} images, {count}"

    @property
    def limit(self) -> str:
        """As in `Preset`."""
        return f"Images may have any size from {self.min_size} pixels up."

    @property
    def takes(self) -> dict[str, Any]:
        """As in `Preset`."""
        return {
            "input_shape": self.input_shape,
            "min_size": self.min_size,
            "classes": self.classes,
        }

    @property
    def loss(self) -> str:
        """As in `Preset`."""
        return "sparse_categorical_crossentropy"

    def build(
        self,
        *,
        input_shape: tuple[int, int, int] | None = None,
        classes: int | None = None,
        weights: Weights = None,
        batchnorm_momentum: float | None = None,
        seed: int | None = None,
        **others: Any,
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
            **others: Refused.

        Raises:
            ZooError: If size, classes or weights do not fit the network.
        """
        import keras

        self.refuse(others)
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
        self.check_weights(weights)
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
        self.load_weights(model, weights)
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

    def check_weights(self, weights: Weights) -> None:
        """As in `Preset`."""
        if weights not in (None, "imagenet") and not Path(weights).is_file():
            raise ZooError(
                "Expected weights=None, 'imagenet' or the path of a "
                ".weights.h5, .h5 or .keras file. Received: "
                f"{str(weights)!r}, which is no file."
            )

    def load_weights(self, model: "keras.Model", weights: Weights) -> None:
        """As in `Preset`."""
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

    def sized(self, **options: Any) -> Self:
        """As in `Preset`."""
        return replace(
            self,
            input_shape=options.get("input_shape") or self.input_shape,
            classes=options.get("classes") or self.classes,
        )
