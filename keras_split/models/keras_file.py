"""A `.keras` file as Keras loads it, or why it cannot, in a few words."""

import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

import keras

from keras_split.errors import DataError
from keras_split.errors import SplitError
from keras_split.models.snapshot_weights import SnapshotWeights
from keras_split.protocol import credentials

# What Keras 3 says of a class or a function that it does not know.
_NOT_KNOWN = re.compile(r"Could not locate (?:class|function) '([^']+)'")
_OF_KERAS = ("builtins", "keras", "keras_hub")
_LONGEST = 300


def load(path: str | os.PathLike[str], *, restore_body: bool = False) -> Any:
    """Loads what `save` of a model wrote.

    Keras' own errors hold the config of the whole model, which is pages;
    ours say what they say without it.

    Args:
        path: The `.keras` file.
        restore_body: Whether the server of this client brings its half back.

    Returns:
        The model.

    Raises:
        DataError: If there is no such file, or Keras cannot load it. Of
            classes that Keras does not know it names all, and their modules.
        SplitError: Whatever else one of ours refused it with.
    """
    model = _load(path)
    if restore_body:
        if not isinstance(model, SnapshotWeights):
            raise DataError(
                "Expected a client's file for restore_body=True. Received: "
                f"{os.fspath(path)!r}, a {type(model).__name__}, which has no "
                "server. Leave it out."
            )
        model.restore_body()
    return model


def _load(path: str | os.PathLike[str]) -> Any:
    path = os.fspath(path)
    if "://" not in path:  # Keras knows some other places
        _check_file(path)
    handled = sys.exception()  # what the caller is in the middle of
    try:
        with credentials.loading_from(os.path.dirname(path)):
            return keras.saving.load_model(path)
    except Exception as error:
        refusal = _ours(error, handled) or DataError(_why(path, error))
        # Not `from error`: Python would print that, and with it the pages.
        raise refusal from None


def _check_file(path: str) -> None:
    """Refuses what Keras calls "not found", whatever it is."""
    if not os.path.exists(path):
        what = "there is no such file"
    elif os.path.isdir(path):
        what = "that is a folder"
    elif path.endswith(".weights.h5"):
        what = "that holds weights alone, for load_weights of a model"
    elif not path.endswith(".keras"):
        what = "its name does not end in .keras"
    elif not zipfile.is_zipfile(path):
        what = "that is damaged, or was never such a file"
    else:
        return
    raise DataError(
        "Expected a .keras file, which client.save or server.save wrote. "
        f"Received: {path!r}, and {what}. Name another one, or save it again."
    )


def _ours(
    error: BaseException | None, handled: BaseException | None
) -> SplitError | None:
    """The refusal of ours that Keras put into an error of its own, if any."""
    while error is not None and error is not handled:
        if isinstance(error, SplitError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _why(path: str, error: Exception) -> str:
    text = str(error)
    expected = f"Expected a file that Keras can load. Received: {path!r}, "
    unknown = _NOT_KNOWN.findall(text)
    if unknown:
        return _of_unknown(path, unknown[-1])
    if "lambda" in text and "safe_mode" in text:
        return (
            f"{expected}which has a Python lambda in it, code that would run "
            "here. Better than a Lambda layer is a layer of a class or with a "
            "function that is registered with "
            "@keras.saving.register_keras_serializable. If you trust who "
            "wrote the file, call "
            "keras.config.enable_unsafe_deserialization() first; on the "
            "command line in a module for --import."
        )
    return f"{expected}which it cannot: {_short(error)}. {_writer(path)}"


def _of_unknown(path: str, name: str) -> str:
    """What to do about classes and functions that Keras does not know."""
    found = dict(_custom(_member(path, "config.json"))) or {name: None}
    named = ", ".join(
        f"{key!r}" + (f" of the module {module}" if module else "")
        for key, module in found.items()
    )
    modules = sorted({m for m in found.values() if m and m != "__main__"})
    module = modules[0] if modules else "MODULE"
    text = (
        f"Expected a file of classes and functions that Keras knows. "
        f"Received: {path!r}, with {named}, not known here. Import what "
        "registers it with @keras.saving.register_keras_serializable() "
        "before the file is loaded; on the command line with "
        f"--import {module}."
    )
    bare = [key for key in found if ">" not in key]
    if bare:
        # Registered now, it would have another name.
        text += (
            f" {bare[0]!r} was not registered when it was saved: "
            "keras.saving.get_custom_objects()"
            f"[{bare[0]!r}] = {bare[0]} makes it known as it is."
        )
    return text


def _custom(config: Any) -> Iterator[tuple[str, str | None]]:
    """Registered names that Keras does not know, and the modules they had."""
    if isinstance(config, list):
        for item in config:
            yield from _custom(item)
    if not isinstance(config, dict):
        return
    name, module = config.get("registered_name"), config.get("module")
    if config.get("class_name") == "function":
        name = config.get("config")  # a function has no more than its name
        if isinstance(name, str) and not _is_function(name):
            yield name, None
    elif isinstance(name, str) and isinstance(module, str):
        foreign = module.partition(".")[0] not in _OF_KERAS
        if foreign and keras.saving.get_registered_object(name) is None:
            yield name, module
    for item in config.values():
        yield from _custom(item)


def _is_function(name: str) -> bool:
    """Whether Keras finds a function of that name by itself."""
    config = {"class_name": "function", "config": name, "module": "builtins"}
    try:
        keras.saving.deserialize_keras_object(config)
    except (TypeError, ValueError):
        return False
    return True


def _short(error: Exception) -> str:
    """The last thing that went wrong, without the configs around it."""
    text = str(error).rpartition("Exception encountered: ")[2]
    text = text.partition("Full object config:")[0]
    text = " ".join(text.split()).rstrip(".")
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _writer(path: str) -> str:
    """Who wrote the file, as far as that may be why, and what to do."""
    about = _member(path, "metadata.json")
    wrote = about.get("keras_version") if isinstance(about, dict) else None
    if wrote is None:
        return "It is damaged, or not of Keras 3: save the model again."
    if wrote == keras.__version__:
        return "Save the model again, or load it where it was saved."
    return f"Keras {wrote} wrote it and this is {keras.__version__}: use that."


def _member(path: str, name: str) -> Any:
    """A JSON file in the archive; None if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(name))
    except Exception:  # whatever a damaged archive makes of it
        return None
