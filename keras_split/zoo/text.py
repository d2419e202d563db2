"""Networks that take texts, as those of keras_hub."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar
from typing import Self

from keras_split.errors import CutError
from keras_split.errors import ZooError
from keras_split.planner.candidates import Candidates
from keras_split.protocol.data_spec import DataSpec
from keras_split.utils.counted import counted
from keras_split.zoo import pretrained
from keras_split.zoo.lookup import resolve
from keras_split.zoo.preset import Preset
from keras_split.zoo.preset import Weights

if TYPE_CHECKING:
    import keras

_LONGEST = "max_sequence_length"
_VOCABULARY = "vocabulary_size"


@dataclass(frozen=True, kw_only=True)
class TextPreset(Preset):
    """A zoo entry that takes texts, as tokens of a vocabulary.

    Attributes:
        model: The task of keras_hub, as `"module:class"`; called with
            `backbone`, `preprocessor=None`, what is in `task` and, if there
            are classes, `num_classes`. Its outputs are logits.
        backbone: What it is a task of, as `"module:class"`.
        sizes: What the backbone is made with, `vocabulary_size` among them;
            `max_sequence_length` is the longest text, if there is one.
        task: What the task is made with, such as a dropout of its own.
        sequence_length: Tokens of a text that the facts are for.
        classes: The class count that the facts are for; 0 for a language
            model, whose outputs are the tokens that come next.
        pretrained: What keras_hub calls weights for it, if it has some.
    """

    KIND: ClassVar[str] = "texts"
    OPTIONS: ClassVar[tuple[str, ...]] = (
        *("sequence_length", "vocabulary_size", "classes", "weights", "seed"),
    )

    backbone: str
    sizes: Mapping[str, Any]
    task: Mapping[str, Any] = field(default_factory=dict)
    sequence_length: int = 128
    classes: int = 0
    pretrained: str = ""
    shares: tuple[str, ...] = ("padding_mask",)

    @property
    def example(self) -> str:
        """As in `Preset`."""
        texts = f"texts of {self.sequence_length} tokens"
        if not self.classes:
            return f"{texts}, {self.sizes[_VOCABULARY]:,} different ones"
        return f"{texts}, {counted(self.classes, 'class', 'classes')}"

    @property
    def limit(self) -> str:
        """As in `Preset`."""
        longest = self.sizes.get(_LONGEST)
        told = [f"Texts may have up to {longest} tokens."] * bool(longest)
        if self.pretrained:
            told.append(f"Weights of keras_hub: {self.pretrained}.")
        return " ".join(told)

    @property
    def takes(self) -> dict[str, Any]:
        """As in `Preset`."""
        return {
            "sequence_length": self.sequence_length,
            _LONGEST: self.sizes.get(_LONGEST),
            _VOCABULARY: self.sizes[_VOCABULARY],
            "classes": self.classes or None,
        }

    @property
    def loss(self) -> Any:
        """As in `Preset`."""
        import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def build(
        self,
        *,
        sequence_length: int | None = None,
        vocabulary_size: int | None = None,
        classes: int | None = None,
        weights: Weights = None,
        seed: int | None = None,
        **sizes: Any,
    ) -> "keras.Model":
        """The whole network as a Keras model, for texts of one length.

        Its inputs are `token_ids`, `padding_mask` and what else the network
        of keras_hub takes, its outputs are logits: what `loss` is for.

        Args:
            sequence_length: Tokens of a text, padding included; the preset's
                by default.
            vocabulary_size: How many tokens there are; the preset's by
                default, which is what its tokenizer has.
            classes: Number of classes; the preset's by default. Not for a
                language model.
            weights: None for random ones; a name of keras_hub such as that in
                `pretrained`, or a `kaggle://` or `hf://` address, which is
                downloaded once; the folder of such a download; or the path
                of a `.weights.h5`, `.h5` or `.keras` file. Every layer whose
                name and shape fit starts from it. The log says which did
                not.
            seed: Makes random initial weights repeatable. What a phone and
                a server build of one seed they both know, see `load`.
            **sizes: Others of the backbone than the preset's, and of the
                task where that has one of the name: `num_layers=1` or
                `dropout=0.0`.

        Raises:
            ZooError: If they do not fit the network.
            BackendError: If keras_hub is not installed.
        """
        import keras

        from keras_split.partition.length import fix_length

        classes = self._classes(classes)
        made = self._sizes(vocabulary_size, sizes)
        length = self._length(sequence_length, made.get(_LONGEST))
        body, kind = resolve(self.backbone), resolve(self.model)
        self.check_weights(weights)
        if seed is not None:
            keras.utils.set_random_seed(seed)
        task = self._task(sizes)
        ends = {"num_classes": classes} if classes else {}
        try:
            backbone = body(**made)
            whole = kind(backbone=backbone, preprocessor=None, **task, **ends)
            model = fix_length(whole, length)
        except CutError:
            raise
        except Exception as error:  # whatever keras_hub raises
            raise ZooError(
                f"Expected sizes of {self.name} that go together. Received: "
                f"{made | task}; {body.__name__} says: {error}. Leave out "
                "those that need not be others."
            ) from error
        self.load_weights(model, weights)
        return model

    def candidates(self) -> Candidates:
        """As in `Preset`: not known, for the server reads inputs."""
        raise ZooError(
            "Expected a preset whose cuts need no input on the server, for a "
            f"plan looks for those. Received: {self.name!r}, whose blocks "
            f"read {' and '.join(self.shares)}. Take one of its cuts: "
            f"keras-split zoo show {self.name} has their costs."
        )

    def data_spec(self, class_names: Sequence[str] = ()) -> DataSpec:
        """As in `Preset`: names of classes, if they are known."""
        return DataSpec(tuple(class_names))

    def check_weights(self, weights: Weights) -> None:
        """As in `Preset`."""
        pretrained.check(weights, self.backbone, self.pretrained)

    def load_weights(self, model: "keras.Model", weights: Weights) -> None:
        """As in `Preset`."""
        if weights is not None:
            pretrained.load(model, weights, self.backbone)

    def sized(self, **options: Any) -> Self:
        """As in `Preset`."""
        others = set(options) - set(self.OPTIONS)
        sizes = {name: options[name] for name in others}
        return replace(
            self,
            sequence_length=options.get("sequence_length")
            or self.sequence_length,
            classes=options.get("classes") or self.classes,
            sizes=self._sizes(options.get(_VOCABULARY), sizes),
            task=self._task(sizes),
        )

    def _classes(self, classes: int | None) -> int:
        if classes is None:
            return self.classes
        if not self.classes:
            raise ZooError(
                f"Expected no classes for {self.name}, a language model, "
                "whose outputs are the tokens of its vocabulary. Received: "
                f"classes={classes}. Leave them out; there is vocabulary_size."
            )
        if classes < 1:
            raise ZooError(
                f"Expected 1 class or more. Received: classes={classes}."
            )
        return classes

    def _sizes(
        self, vocabulary_size: int | None, others: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What the backbone is made with."""
        known = {*self.sizes, *self.task}
        self.refuse([name for name in others if name not in known], known)
        made = {k: others.get(k, value) for k, value in self.sizes.items()}
        if vocabulary_size is not None:
            made[_VOCABULARY] = vocabulary_size
        if made[_VOCABULARY] < 1:
            raise ZooError(
                "Expected a vocabulary of 1 token or more. Received: "
                f"vocabulary_size={made[_VOCABULARY]}."
            )
        return made

    def _task(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """What the task is made with."""
        return {k: others.get(k, value) for k, value in self.task.items()}

    def _length(self, length: int | None, longest: int | None) -> int:
        length = self.sequence_length if length is None else length
        if length < 1 or (longest is not None and length > longest):
            limit = "or more" if longest is None else f"to {longest}"
            raise ZooError(
                f"Expected texts of 1 {limit} tokens for {self.name}. "
                f"Received: sequence_length={length}. Cut longer texts off."
            )
        return length
