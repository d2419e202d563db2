"""How a folder of images is laid out: classes, files, and what is neither."""

import os
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from keras_split.datasets import class_list
from keras_split.datasets.photo import SUFFIXES
from keras_split.errors import DataError

Classes = dict[str, list[Path]]
Say = Callable[[str], object]

_TRAIN = ("train", "training")
_VALIDATION = ("val", "valid", "validation")
_TEST = ("test", "testing")
# What systems put beside photos; names with a dot in front are hidden anyway.
_OF_SYSTEMS = frozenset(
    ["$recycle.bin", "@eadir", "__macosx", "desktop.ini", "lost+found"]
    + ["system volume information", "thumbs.db"]
)
_SHOWN = 8  # kinds of files in one line


class Layout(NamedTuple):
    """The image files of a folder.

    Attributes:
        train: Those of each class, in the order of the labels.
        validation: The same of `val/`; None if there is no such folder.
    """

    train: Classes
    validation: Classes | None


def find_photos(path: Path, names: tuple[str, ...], say: Say) -> Layout:
    """Finds the image files in a folder, by class.

    Args:
        path: It has a folder a class; or `train/`, perhaps with `val/`
            (`valid/`, `validation/`), each with a folder a class.
        names: Of the classes; none for those that are found, in the order of
            their names.
        say: Called with what was not taken, and with classes without images.

    Raises:
        DataError: If there are no classes, one that is not among `names`, or
            no images at all.
    """
    if not path.is_dir():
        what = "It is a file." if path.exists() else "There is no such folder."
        raise DataError(
            "Expected a folder with one sub-folder per class: "
            f"{str(path)!r}. {what} {_lay_out(path)}"
        )
    parts = _find_parts(path, names, say)
    folders = [_class_folders(part) for part in parts]
    for part, found in zip(parts, folders, strict=True):
        if names:
            class_list.check_known(found, names, part)
    names = names or class_list.check_class_names(
        sorted({name for found in folders for name in found})
    )
    other: Counter[str] = Counter()
    layout = [
        _find_files(part, found, names, other, say)
        for part, found in zip(parts, folders, strict=True)
    ]
    if other:
        kinds = [f"{kind} ({n:,})" for kind, n in other.most_common(_SHOWN)]
        rest = "" if len(other) <= _SHOWN else " and more"
        say(f"Passed over in {path}: {', '.join(kinds)}{rest}")
    return Layout(layout[0], layout[1] if len(layout) > 1 else None)


def tell_missing(part: Path, classes: Classes, say: Say) -> None:
    """Tells which classes have no images, if any."""
    missing = [name for name, files in classes.items() if not files]
    if missing:
        say(
            f"No images of {', '.join(missing)} in {part}; "
            f"{len(classes) - len(missing)} of {len(classes)} classes have some"
        )


def _find_parts(path: Path, names: tuple[str, ...], say: Say) -> list[Path]:
    """`[train]`, `[train, validation]`, or the folder itself."""
    children = _folders(path)
    train = _named(path, _TRAIN, children)
    if train is None or names and class_list.normal(train.name) in names:
        return [path]
    if not _folders(train) or _has_photos(train):
        return [path]  # a class of trains
    validation = _named(path, _VALIDATION, children)
    parts = [train] if validation is None else [train, validation]
    for child in children:
        if child not in parts:
            why = (
                f"; evaluate on it with --data {child}"
                if child.name.casefold() in _TEST
                else f", for it is neither {_TRAIN[0]}/ nor {_VALIDATION[0]}/"
            )
            say(f"Left alone: {child}{why}")
    return parts


def _named(
    path: Path, words: Iterable[str], children: list[Path]
) -> Path | None:
    found = [child for child in children if child.name.casefold() in words]
    if len(found) > 1:
        raise DataError(
            f"Expected one of {', '.join(child.name for child in found)} in "
            f"{str(path)!r}. Received: {len(found)}. Put their images into one "
            "folder, or give another name to the others."
        )
    return found[0] if found else None


def _class_folders(part: Path) -> dict[str, Path]:
    """Folders by class; links are followed."""
    folders: dict[str, Path] = {}
    for child in _folders(part):
        name = class_list.normal(child.name)
        if name in folders:
            raise DataError(
                f"Expected one folder of class {name!r} in {str(part)!r}. "
                f"Received: {folders[name].name!a} and {child.name!a}, which "
                "differ in how an accent is written. Put their images into one."
            )
        folders[name] = child
    if not folders:
        raise DataError(
            "Expected a folder with one sub-folder per class: "
            f"{str(part)!r}. It has no sub-folders. {_lay_out(part)}"
        )
    return folders


def _find_files(
    part: Path,
    folders: dict[str, Path],
    names: tuple[str, ...],
    other: Counter[str],
    say: Say,
) -> Classes:
    """Image files by class, in the order of their names; counts the rest."""
    classes: Classes = {}
    for name in names:
        files = _scan(folders[name]) if name in folders else []
        classes[name] = []
        for file in files:
            if _is_folder(file):
                other["folders inside classes"] += 1
            elif file.name.lower().endswith(SUFFIXES):
                classes[name].append(Path(file))
            else:
                other[Path(file.name).suffix.lower() or "no suffix"] += 1
    for file in _scan(part):
        if file.name.lower().endswith(SUFFIXES) and not _is_folder(file):
            other["images outside classes"] += 1
    if not any(classes.values()):
        raise DataError(
            f"Expected images ({', '.join(SUFFIXES)}) in the class folders. "
            f"There are none in any folder of {str(part)!r}. {_lay_out(part)}"
        )
    tell_missing(part, classes, say)
    return classes


def _has_photos(folder: Path) -> bool:
    return any(
        file.name.lower().endswith(SUFFIXES) and not _is_folder(file)
        for file in _scan(folder)
    )


def _folders(path: Path) -> list[Path]:
    """Folders in a folder.

    Raises:
        DataError: If a link leads nowhere: without its class, those behind
            it would get other numbers.
    """
    folders = []
    for entry in _scan(path):
        if _is_folder(entry):
            folders.append(Path(entry))
        elif entry.is_symlink() and not Path(entry).exists():
            raise DataError(
                f"Expected folders in {str(path)!r}. Received: the link "
                f"{entry.name!r}, which leads nowhere. Mount what it points "
                "to, or remove it."
            )
    return folders


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _scan(path: Path) -> list["os.DirEntry[str]"]:
    """What lies in a folder, by name, without what is hidden.

    Raises:
        DataError: If it is none, or may not be looked into.
    """
    try:
        with os.scandir(path) as entries:
            found = [
                entry
                for entry in entries
                if not entry.name.startswith(".")
                and entry.name.lower() not in _OF_SYSTEMS
            ]
    except OSError as error:
        raise DataError(
            "Expected a folder with one sub-folder per class: "
            f"{str(path)!r}. Looking into it failed: {error.strerror}. "
            f"{_lay_out(path)} Let this user read them."
        ) from error
    # By what is shown, so that two machines agree on the order.
    return sorted(found, key=lambda e: (class_list.normal(e.name), e.name))


def _lay_out(folder: Path) -> str:
    """Advice; paths are in quotes, for `.` ends no sentence."""
    return f"Lay the images out as {str(folder / 'CLASS' / 'IMAGE.jpg')!r}."
