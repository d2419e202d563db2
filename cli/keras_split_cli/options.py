"""Options that `serve` and `train` must agree on, and what they build."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

import click

from keras_split import load_model
from keras_split import zoo
from keras_split.compression import codecs
from keras_split.errors import DataError
from keras_split.errors import ZooError
from keras_split_cli.amount import Amount
from keras_split_cli.image_presets import image_preset
from keras_split_cli.quantization_option import quantization_option

if TYPE_CHECKING:
    import keras

    from keras_split.models import ClientModel
    from keras_split.models import ServerModel

CLIENT = "client"
SERVER = "server"
_WRITES = {
    CLIENT: "keras-split train --save writes one",
    SERVER: "keras-split serve --save writes one when it is stopped",
}
# What `build` of a preset takes, by the option of a command.
_BUILT_WITH = {
    "input_size": "input_shape",
    "batchnorm_momentum": "batchnorm_momentum",
    "sequence_length": "sequence_length",
    "vocabulary_size": "vocabulary_size",
    "classes": "classes",
    "weights": "weights",
    "seed": "seed",
}
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Network:
    """A preset and how it is built; the same on the phone and the server."""

    preset: str
    cut: str
    input_size: int | None
    classes: int | None
    weights: str | None
    batchnorm_momentum: float | None
    seed: int
    quantization: str
    codec: str | None
    bottleneck: int | None = None
    fused_batchnorm: bool = True
    sequence_length: int | None = None
    vocabulary_size: int | None = None
    share: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels, of a preset of images."""
        if self.input_size is None:
            return image_preset(self.preset, "train").input_shape
        return (self.input_size, self.input_size, 3)

    def build(self) -> "keras.Model":
        """The whole network, unsplit."""
        return zoo.get(self.preset).build(**self._options())

    def check(self) -> None:
        """Refuses options that the preset does not take, before Keras loads.

        Raises:
            ZooError: If there are some; or there is no such preset.
        """
        self._options()

    def agreed(self) -> "Network":
        """The same for a server, to which phones send what they consent to.

        Of layers that are named as a cut nobody knows what they read, before
        the network is built: those are as they are.
        """
        preset = zoo.get(self.preset)
        named = self.cut in preset.cuts and not self.share
        return replace(self, share=preset.shares) if named else self

    def load(
        self, secret: bytes | None = None, defenses: Sequence[Any] = ()
    ) -> "tuple[ClientModel, ServerModel]":
        """Client and server.

        Args:
            secret: What random initial weights of the client come from; by
                default the system's randomness.
            defenses: What the client does to what it sends.
        """
        return zoo.get(self.preset).load(
            self.cut,
            quantization=self.quantization,
            codec=self.codec,
            bottleneck=self.bottleneck,
            fused_batchnorm=self.fused_batchnorm,
            secret=secret,
            defenses=defenses,
            share=self.share,
            **self._options(),
        )

    def arguments(self) -> list[str]:
        """The command-line arguments that make the same network."""
        arguments = [self.preset]
        for name, value in vars(self).items():
            option = name.replace("_", "-")
            if isinstance(value, bool):
                arguments.append(f"--{option}" if value else f"--no-{option}")
            elif isinstance(value, tuple):
                arguments += [
                    x for each in value for x in (f"--{option}", each)
                ]
            elif name != "preset" and value is not None:
                arguments += [f"--{option}", str(value)]
        return arguments

    def _options(self) -> dict[str, Any]:
        given = {option: getattr(self, option) for option in _BUILT_WITH}
        return built_with(zoo.get(self.preset), **given)


def built_with(preset: zoo.Preset, **given: Any) -> dict[str, Any]:
    """What `build` of a preset takes, of the values of options.

    Args:
        preset: Any.
        **given: Values of those in `_BUILT_WITH`; None of who is not given.

    Raises:
        ZooError: If the preset takes something else.
    """
    given = {option: v for option, v in given.items() if v is not None}
    known = [o for o, name in _BUILT_WITH.items() if name in preset.OPTIONS]
    if others := [_flag(option) for option in given if option not in known]:
        raise ZooError(
            f"Expected options of {preset.name}, which takes {preset.KIND}: "
            f"{', '.join(map(_flag, known))}. Received: {', '.join(others)}. "
            f"Leave {' and '.join(others)} out."
        )
    built = {_BUILT_WITH[option]: value for option, value in given.items()}
    if pixels := built.get("input_shape"):
        built["input_shape"] = (pixels, pixels, 3)
    return built


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _another_half(source: str, which: str, kind: str) -> str:
    """Says what a file is that is not the half that a command takes.

    Args:
        source: The file.
        which: `CLIENT` or `SERVER`, what it should be.
        kind: The class of what is in it.
    """
    owner = {CLIENT: "phone", SERVER: "server"}
    for other in owner:
        if kind == f"{other.capitalize()}Model":
            return (
                f"Expected the {owner[which]}'s half. Received: {source!r}, "
                f"which is the {owner[other]}'s half. Name the {which}.keras "
                "that was made with it."
            )
    return (
        f"Expected the {owner[which]}'s half. Received: a {kind} in "
        f"{source!r}. Cut it in Python with keras_split.compile, and save both "
        "halves."
    )


def load_half(
    source: str,
    network: dict[str, Any],
    which: str,
    secret: bytes | None = None,
    defenses: Sequence[Any] = (),
) -> Any:
    """One half of a model: of a preset, or from the file it was saved to.

    Args:
        source: A preset, or a .keras file.
        network: The values of the options of a `Network`.
        which: `CLIENT` or `SERVER`.
        secret: As in `Network.load`.
        defenses: As in `Network.load`.

    Raises:
        DataError: If the file is not there, cannot be loaded, or is not that
            half.
        ZooError: If there is no such preset.
    """
    if source in zoo.names():
        made = Network(source, **network)
        if which == SERVER:
            made = made.agreed()
        client, server = made.load(secret, defenses)
        return client if which == CLIENT else server
    check_source(source, which)
    model = load_model(source)
    kind = type(model).__name__
    if kind != f"{which.capitalize()}Model":
        raise DataError(_another_half(source, which, kind))
    return model


def check_source(source: str, which: str, *, preset: bool = True) -> None:
    """Refuses what is not there, before Keras is loaded for it.

    Args:
        source: A preset, or a .keras file.
        which: `CLIENT` or `SERVER`, for the advice.
        preset: Whether it may be one.

    Raises:
        DataError: If the file is not there.
        ZooError: If there is no such preset.
    """
    if preset and source in zoo.names():
        return
    if preset and not source.endswith(".keras"):
        zoo.get(source)  # says which presets there are
    if not Path(source).is_file():
        expected = "a preset or a file" if preset else f"a {which}.keras"
        raise DataError(
            f"Expected {expected}. Received: {source!r}, which is no file. "
            f"{_WRITES[which]}, and so does {which}.save('{which}.keras') in "
            "Python."
        )


class CutType(click.ParamType):  # type: ignore[type-arg]
    """Takes the name of a split or `A,B`, before a network is built."""

    name = "cut"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The text as it is."""
        names = [name for end in value.split(",") for name in end.split("+")]
        if value not in zoo.CUT_NAMES and (len(names) < 2 or "" in names):
            self.fail(
                f"Expected {', '.join(zoo.CUT_NAMES)}, or two layers, as in "
                f"A,B. Received: {value!r}. keras-split plan PRESET says "
                "which would do.",
                param,
                ctx,
            )
        return value


def cut_option(function: _F) -> _F:
    """Adds `--cut`."""
    return click.option(
        "--cut",
        type=CutType(),
        metavar="NAME|LAYER,LAYER",
        default=zoo.DEFAULT_CUT,
        show_default=True,
        help=f"Where the network is cut: {', '.join(zoo.CUT_NAMES)}, or two "
        "layers that keras-split plan names, with + between several at one.",
    )(function)


def network_options(function: _F) -> _F:
    """Adds the options of a `Network`; they must agree on both sides."""
    for option in reversed(
        [
            cut_option,
            click.option(
                "--input-size",
                type=click.IntRange(min=1),
                metavar="PIXELS",
                help="Height and width of the images; the preset's own by "
                "default.",
            ),
            click.option(
                "--classes",
                type=click.IntRange(min=1),
                metavar="N",
                help="Number of classes. train counts those of --data; "
                "everything else takes the preset's own, mostly 10.",
            ),
            click.option(
                "--weights",
                metavar="NAME|FILE",
                help="Start from imagenet, from a name that keras_hub has for "
                "a network of texts, or from what fits of a .weights.h5, .h5 "
                "or .keras file, instead of random weights; the same on both "
                "sides.",
            ),
            click.option(
                "--batchnorm-momentum",
                type=Amount(0, 1),
                metavar="M",
                help="Momentum of BatchNormalization's moving statistics; "
                "0.9 suits short trainings.",
            ),
            click.option(
                "--seed",
                type=click.IntRange(0, 2**32 - 1),
                default=0,
                show_default=True,
                help="Seed of the body's random initial weights, and in train "
                "of the order of the images. Head and tail come from a secret "
                "of the phone instead.",
            ),
            quantization_option(),
            click.option(
                "--codec",
                type=click.Choice(codecs.names()),
                help="How their bytes are packed without loss; by default "
                "zstd with balanced, small and tiny, else raw.",
            ),
            click.option(
                "--bottleneck",
                type=click.IntRange(min=1),
                metavar="N",
                help="Send N times fewer channels, through layers that are "
                "added at the cuts; by default 4 with small, 16 with tiny.",
            ),
            click.option(
                "--fused-batchnorm/--no-fused-batchnorm",
                default=True,
                show_default=True,
                help="Train BatchNormalization as one operation instead of "
                "Keras' dozen: faster, with other last bits.",
            ),
        ]
    ):
        function = option(function)
    return function


TEXTS = ("sequence_length", "vocabulary_size", "share")


def text_options(function: _F) -> _F:
    """Adds those of `TEXTS`, which belong to a `Network` of texts."""
    for option in reversed(
        [
            click.option(
                "--sequence-length",
                type=click.IntRange(min=1),
                metavar="TOKENS",
                help="Of a preset of texts: tokens of each; the preset's own "
                "by default. Of a file with several lengths: which of them "
                "to export.",
            ),
            click.option(
                "--vocabulary-size",
                type=click.IntRange(min=1),
                metavar="TOKENS",
                help="Of a preset of texts: how many tokens there are; those "
                "of its tokenizer by default.",
            ),
            click.option(
                "--share",
                multiple=True,
                metavar="INPUT",
                help="An input that phones send to the server as it is, such "
                "as padding_mask; again for more. serve takes those of the "
                "preset by itself.",
            ),
        ]
    ):
        function = option(function)
    return function
