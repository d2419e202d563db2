"""The images that a command trains on, from wherever `--data` points."""

import math
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import click
import numpy as np
from rich.progress import Progress

from keras_split import datasets
from keras_split.datasets import class_list
from keras_split.datasets.folder import IN_MEMORY_BYTES
from keras_split.datasets.layout import find_photos
from keras_split.errors import DataError
from keras_split.utils.counted import counted
from keras_split_cli.amount import Amount
from keras_split_cli.console import note
from keras_split_cli.console import progress
from keras_split_cli.console import size
from keras_split_cli.console import tell

SAMPLES = "fashion_mnist"  # what comes with keras_split
# Images may be `datasets.Photos`, which look like an array.
Pair = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
_F = TypeVar("_F", bound=Callable[..., Any])


class Data(NamedTuple):
    """What `read_data` found.

    Attributes:
        train: Images and labels.
        validation: Those held back, if any.
        class_names: In the order of the labels; empty if not known.
    """

    train: Pair
    validation: Pair | None
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """How many classes there are, as far as the data says."""
        if self.class_names:
            return len(self.class_names)
        pairs = [pair for pair in (self.train, self.validation) if pair]
        return max(
            y.shape[1] if y.ndim == 2 and y.shape[1] > 1 else int(y.max()) + 1
            for _, y in pairs
        )


def _split(
    context: click.Context, option: click.Parameter, text: str | None
) -> tuple[str, ...]:
    del context, option
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    return class_list.check_class_names(names)


def _read_names(
    context: click.Context, option: click.Parameter, path: str | None
) -> None:
    del option
    if path is None:
        return
    if context.params.get("class_names"):
        raise click.UsageError(
            "Expected --class-names or --classes-from. Received: both. A "
            "class has one number."
        )
    context.params["class_names"] = class_list.read_class_names(path)


def keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Keeps an option for who reads data; no command does more with it."""
    context.meta[f"{__name__}.{option.name}"] = value


def kept(name: str) -> Any:
    """What `keep` has of an option; None outside of a command."""
    context = click.get_current_context(silent=True)
    return context.meta.get(f"{__name__}.{name}") if context else None


def class_options(help: str) -> Callable[[_F], _F]:
    """Adds `--class-names` and `--classes-from`.

    The command gets `class_names`, empty if the user gave none.

    Args:
        help: What the names are for.
    """

    def add(function: _F) -> _F:
        function = click.option(
            "--classes-from",
            callback=_read_names,
            expose_value=False,
            metavar="FILE",
            help="The same from a client.keras, a client.json or a text file "
            "with one name a line.",
        )(function)
        return click.option(
            "--class-names",
            callback=_split,
            is_eager=True,  # before --classes-from
            metavar="A,B,C",
            help=help,
        )(function)

    return add


def data_options(function: _F) -> _F:
    """Adds `--data` and what belongs to it, for `read_data`.

    The command gets `data`, `validation_split` and `class_names`, names that
    the user gave in either way; empty if in none. `--skip-unreadable` and
    `--stream` reach `read_data` without its help.
    """
    for option in reversed(
        [
            click.option(
                "--data",
                default=SAMPLES,
                show_default=True,
                metavar="FOLDER|FILE.npz|NAME",
                help="A folder with one sub-folder of images for each class, "
                "or with train/ and val/ of such; an .npz with x and y; or a "
                "built-in data set.",
            ),
            click.option(
                "--validation-split",
                type=Amount(0, 1, max_open=True),
                default=0.1,
                show_default=True,
                help="Share of the images held back, where the data set "
                "brings none.",
            ),
            class_options(
                "All classes in the order of their labels, of which some may "
                "have no images here. By default those that the client knows, "
                "or else the names of the folders."
            ),
            click.option(
                "--skip-unreadable",
                is_flag=True,
                callback=keep,
                expose_value=False,
                help="Leave out files that cannot be read, and list them.",
            ),
            click.option(
                "--stream/--no-stream",
                default=None,
                callback=keep,
                expose_value=False,
                help="Read images from the disk for each batch, or keep them "
                "in memory. By default they are kept if they take "
                f"{size(IN_MEMORY_BYTES)} or less.",
            ),
        ]
    ):
        function = option(function)
    return function


def check_classes(data: str) -> None:
    """Refuses a folder that is to say which classes there are, and has one.

    Its images are not read for it.

    Raises:
        DataError: If it has fewer than two, or is no such folder.
    """
    if data in datasets.names() or data.endswith(".npz"):
        return
    classes = find_photos(Path(data), (), lambda _: None).train
    if len(classes) < 2:
        (name,) = classes
        raise DataError(
            f"Expected two folders of classes or more in {data}. Received: "
            f"one, {name!r}. Add a folder of what is not {name!r}; or name all "
            "classes with --class-names A,B, if other phones have the others."
        )


def read_data(
    data: str,
    shape: tuple[int, ...],
    validation_split: float,
    seed: int,
    class_names: Sequence[str] = (),
) -> Data:
    """Training images and validation images, as uint8 where they come so.

    Args:
        data: A folder, an .npz file or the name of a built-in data set.
        shape: Height, width and channels to read files at.
        validation_split: Share to hold back, where the data brings none.
        seed: Decides which.
        class_names: All classes in the order of their labels, where they are
            known already.

    Raises:
        DataError: If there is nothing to train on, or it has a class that is
            not among `class_names`.
    """
    names = class_list.check_class_names(class_names)
    stream = kept("stream")
    if stream and (data in datasets.names() or data.endswith(".npz")):
        raise click.UsageError(
            f"Expected a folder for --stream. Received: --data {data}, which "
            "is one file. Leave --stream out."
        )
    if data in datasets.names():
        return _built_in(data, names)
    if data.endswith(".npz"):
        return _archive(data, validation_split, seed, names)
    with Progress(
        console=progress, transient=True, disable=not progress.is_terminal
    ) as bar:
        task = bar.add_task("Reading images", total=None)
        folder = datasets.load_folder(
            data,
            shape,
            seed,
            validation_split,
            lambda done, total: bar.update(task, completed=done, total=total),
            class_names=names,
            skip_unreadable=bool(kept("skip_unreadable")),
            stream=stream,
            say=note,
        )
    held_back = folder.validation if len(folder.validation[0]) else None
    found = counted(len(folder.train[0]), "image")
    if held_back is not None:
        found = f"{len(folder.train[0]):,} training and "
        found += counted(len(held_back[0]), "validation image")
    tell(f"{found} of {', '.join(folder.class_names)}")
    if isinstance(folder.train[0], datasets.Photos):
        nbytes = sum(math.prod(x.shape) for x, _ in folder[:2])
        note(
            "They are read from the disk for each batch; in memory they would "
            f"take {size(nbytes)}"
        )
    return Data(folder.train, held_back, folder.class_names)


def first(pair: Pair, count: int | None) -> Pair:
    """So many images and their labels; None for all of them.

    Those that are read from the disk for each batch stay there.
    """
    x, y = pair
    if isinstance(x, datasets.Photos):
        photos: Any = x.only(np.arange(len(x))[:count])
        return photos, y[:count]
    return x[:count], y[:count]


def _built_in(name: str, names: tuple[str, ...]) -> Data:
    train, validation = datasets.load(name)
    theirs = datasets.class_names(name)
    if not names:
        return Data(train, validation, theirs)
    pairs = [
        (x, class_list.renumber(y, theirs, names, name))
        for x, y in (train, validation)
    ]
    return Data(pairs[0], pairs[1], names)


def _archive(
    path: str, validation_split: float, seed: int, names: tuple[str, ...]
) -> Data:
    train, validation = datasets.load_npz(path)
    if validation is None:
        order = np.random.default_rng(seed).permutation(len(train[0]))
        held = int(len(order) * validation_split)
        parts = [(train[0][i], train[1][i]) for i in np.split(order, [held])]
        train, validation = parts[1], parts[0] if held else None
    for _, y in (train, validation or train):
        if names and y.max() >= len(names):
            raise DataError(
                f"Expected labels from 0 to {len(names) - 1} in {path}, for "
                f"{len(names)} classes are given. Received: {y.max()}. Give "
                "the names of all classes, in the order of the labels."
            )
    return Data(train, validation, names)
