"""Looks at a file or a folder, and says what it is."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from keras_split.errors import DataError
from keras_split.files.arrays import of_npz
from keras_split.files.description import of_json
from keras_split.files.facts import Facts
from keras_split.files.keras_zip import of_keras
from keras_split.files.tflite import of_tflite
from keras_split.files.weights import of_weights

_KNOWN = (
    ".keras, .tflite, client.json, .npz, .weights.h5, a folder of checkpoints"
)


def _of_h5(path: Path) -> Facts:
    return {"kind": "weights of a Keras model"} | of_weights(str(path))


_READERS: dict[str, Callable[[Path], Facts]] = {
    ".keras": of_keras,
    ".tflite": of_tflite,
    ".json": of_json,
    ".npz": of_npz,
    ".h5": _of_h5,
}


def look(path: str | os.PathLike[str]) -> Facts:
    """What a file is, in plain values.

    Nothing in it is run, and no class of the user's need be there.

    Args:
        path: A .keras, a .tflite, a .json of ours, an .npz, a .weights.h5, or
            a folder of checkpoints.

    Returns:
        `kind` in words and `file`, and what else there is to know.

    Raises:
        DataError: If it is not there, broken, or nothing of ours.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise DataError(
            f"Expected a file or a folder. Received: {str(path)!r}, which is "
            "not there. Look at the path."
        )
    read = _READERS.get(path.suffix)
    if read is None:
        raise DataError(
            f"Expected one of: {_KNOWN}. Received: {str(path)!r}. If it is "
            "one of those, give it its ending back."
        )
    try:
        facts = read(path)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"Expected a {path.suffix} that keras_split or Keras wrote. "
            f"Received: {str(path)!r}, which is broken or something else "
            f"({reason}). Copy or write it again."
        ) from error
    kind = facts.pop("kind")
    return {
        "file": str(path),
        "kind": kind,
        "bytes": path.stat().st_size,
        **facts,
    }


def _folder(path: Path) -> Facts:
    """Facts of a folder of checkpoints, or of states of a training."""
    kept = sorted(path.glob("checkpoint-*.npz"))
    states = sorted(path.glob("epoch-*.weights.h5"))
    private = sorted((path / "bodies").glob("*/"))
    if not kept and not states and not private:
        raise DataError(
            f"Expected one of: {_KNOWN}. Received: the folder {str(path)!r}, "
            "which has no checkpoints. Name a file in it."
        )
    if private and not kept:
        return {
            "file": str(path),
            "kind": "checkpoints of a server with a body for each client",
            "folders": [str(folder) for folder in private],
        }
    last = look((kept or states)[-1])
    kind = "checkpoints of a server" if kept else "states of train --resume"
    return {
        "file": str(path),
        "kind": f"{kind}; what follows is the last",
        "files": [p.name for p in kept or states],
        **{k: v for k, v in last.items() if k not in ("file", "kind")},
    }
