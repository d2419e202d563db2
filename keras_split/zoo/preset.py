"""A network with splits that are ready to use, whatever it takes."""

import abc
import logging
import os
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar
from typing import Self

from keras_split.compression.rules import Quantization
from keras_split.compression.shared import Share
from keras_split.errors import OptionError
from keras_split.errors import ZooError
from keras_split.planner.candidates import Candidates
from keras_split.protocol.data_spec import DataSpec
from keras_split.zoo.facts import Cut
from keras_split.zoo.facts import compute_facts

if TYPE_CHECKING:
    import keras

    from keras_split.models import ClientModel
    from keras_split.models import ServerModel

DEFAULT_CUT = "spliteasy"
CUT_NAMES = ("spliteasy", "deep", "light")
Weights = str | os.PathLike[str] | None
_LOG = logging.getLogger("keras_split")


@dataclass(frozen=True, kw_only=True)
class Preset(abc.ABC):
    """A zoo entry: data that says which network, and where it is cut.

    Those that come are `ImagePreset` and `TextPreset`, by what a network
    takes.

    Attributes:
        name: Its name on the command line.
        summary: One sentence for `keras-split zoo list`.
        model: What the network is made with, as `"module:name"`.
        cuts: Named splits; `"spliteasy"` is the default.
        quantization: The quantization that `load` uses by default.
        paper: Where the network was published.
        shares: Inputs that the server reads in its named cuts, and so gets
            as they are: what `share` of `load` consents to.
        KIND: What the network takes, in a word.
        OPTIONS: What `build` takes, by which sizes can be chosen.
    """

    KIND: ClassVar[str]
    OPTIONS: ClassVar[tuple[str, ...]]

    name: str
    summary: str
    model: str
    cuts: Mapping[str, Cut]
    quantization: Quantization = field(default_factory=Quantization)
    paper: str = ""
    shares: tuple[str, ...] = ()

    @property
    @abc.abstractmethod
    def example(self) -> str:
        """What the facts are for, such as `"224x224 images, 10 classes"`."""

    @property
    @abc.abstractmethod
    def limit(self) -> str:
        """What else it takes, in a sentence; empty for nothing to say."""

    @property
    @abc.abstractmethod
    def takes(self) -> dict[str, Any]:
        """The sizes that the facts are for, and their limits: plain values."""

    @property
    @abc.abstractmethod
    def loss(self) -> Any:
        """The loss of Keras that fits the network's output."""

    @abc.abstractmethod
    def build(self, **options: Any) -> "keras.Model":
        """The whole network as a Keras model.

        Args:
            **options: Of those in `OPTIONS`; the preset's own by default.

        Raises:
            ZooError: If they do not fit the network.
            BackendError: If a package is missing that it is made with.
        """

    @abc.abstractmethod
    def candidates(self) -> Candidates:
        """The cuts that are worth a thought, for `keras_split.plan`.

        Raises:
            ZooError: If they are not known.
        """

    @abc.abstractmethod
    def data_spec(self, class_names: Sequence[str] = ()) -> DataSpec:
        """What its client says of its data.

        Args:
            class_names: Names of the classes, if they are known.
        """

    @abc.abstractmethod
    def check_weights(self, weights: Weights) -> None:
        """Refuses what cannot be weights before a network is built.

        Raises:
            ZooError: If it is not there, or nothing of the kind.
        """

    @abc.abstractmethod
    def load_weights(self, model: "keras.Model", weights: Weights) -> None:
        """Loads what fits into the model, and the halves cut from it.

        Raises:
            ZooError: If they cannot be had, or nothing fits.
        """

    @abc.abstractmethod
    def sized(self, **options: Any) -> Self:
        """The preset with other sizes as its own; its facts stay."""

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

    def measured(self, **options: Any) -> Self:
        """The preset at other sizes, with facts that are computed now.

        Args:
            **options: As in `build`.
        """
        model = self.build(**options)
        cuts = {
            name: replace(
                cut,
                facts=compute_facts(model, list(cut.layers), self.shares),
            )
            for name, cut in self.cuts.items()
        }
        return replace(self.sized(**options), cuts=cuts)

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
        share: Share = (),
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
            share: As in `keras_split.compile`: what `shares` names, for its
                named cuts. It is never implied.
            **options: As in `build`.

        Returns:
            `(client, server)`, as `keras_split.compile` returns them.

        Raises:
            OptionError: If the secret is too short; or if one is given, and
                the preset's network cannot be drawn from it. Without one the
                log warns of that. Or if the server would need an input that
                is not in `share`.
        """
        from keras_split.compiler import compile

        layers = self.layers(cut)
        if isinstance(cut, str) and "," not in cut:
            self._check_consent(share)
        if class_names and options.get("classes") is None:
            options["classes"] = len(class_names)
        weights = options.pop("weights", None)
        self.check_weights(weights)
        model = self.build(**options)
        client, server = compile(
            model,
            layers,
            quantization=quantization or self.quantization,
            codec=codec,
            bottleneck=bottleneck,
            fused_batchnorm=fused_batchnorm,
            data_spec=self.data_spec(class_names),
            defenses=defenses,
            share=share,
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
        self.load_weights(model, weights)
        return client, server

    def refuse(self, unknown: Iterable[str], known: Iterable[str] = ()) -> None:
        """Refuses options that `build` does not take.

        Args:
            unknown: Their names; none for nothing to refuse.
            known: What it takes beside `OPTIONS`.

        Raises:
            ZooError: If there are some.
        """
        if names := ", ".join(unknown):
            takes = ", ".join(sorted({*self.OPTIONS, *known}))
            raise ZooError(
                f"Expected options of {self.name}, which takes {self.KIND}: "
                f"{takes}. Received: {names}. Leave them out."
            )

    def _check_consent(self, share: Share) -> None:
        """Whether the user lets the server have what its blocks read."""
        missing = [name for name in self.shares if name not in share]
        if missing:
            raise OptionError(
                f"Expected a consent for the cuts of {self.name}, in which "
                f"the server reads {' and '.join(missing)}, as given: how "
                f"long each text is. Received: share={list(share)}. Pass "
                f"share={list(self.shares)}; on the command line --share "
                f"{' --share '.join(self.shares)}."
            )
