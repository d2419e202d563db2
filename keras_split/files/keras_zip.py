"""What is in a .keras: a zip of a config and weights."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from keras_split.files.description import beside
from keras_split.files.facts import Facts
from keras_split.files.facts import of_contract
from keras_split.files.facts import of_data
from keras_split.files.facts import of_moment
from keras_split.files.facts import of_optimizer
from keras_split.files.weights import of_weights

_WEIGHTS = "model.weights.h5"
_MOST = 1 << 30  # of a part of it: more is a bomb, or not for memory
_KINDS = {
    "keras_split>ClientModel": "client: the phone's half, head and tail",
    "keras_split>ServerModel": "server: the server's half, the body",
}


def of_keras(path: Path) -> Facts:
    """Facts of a .keras.

    Raises:
        ValueError: If it is none.
        OSError: If it is broken.
        KeyError: If something is missing in it.
    """
    with zipfile.ZipFile(path) as archive:
        config = json.loads(_read(archive, "config.json"))
        metadata = json.loads(_read(archive, "metadata.json"))
        weights = _read(archive, _WEIGHTS)
    inner = config["config"]
    about: Facts = {
        "kind": _KINDS.get(
            config.get("registered_name"),
            f"a Keras model: {config['class_name']} {inner.get('name', '')!r}",
        )
    }
    if "contract" in inner:
        about |= of_moment(inner.get("moment"))
        about |= of_contract(inner["contract"])
        about |= of_data(inner.get("data_spec"))
        if inner.get("defenses"):  # whose seed is nobody's business
            about["defenses"] = inner["defenses"].get("defenses", [])
    else:
        about |= beside(path, "keras_sha256")
    about |= _ends(inner)
    compiled = config.get("compile_config") or {}
    about |= of_optimizer(compiled.get("optimizer"))
    if compiled.get("loss") is not None:
        about["loss"] = _short(compiled["loss"])
    if compiled.get("metrics"):
        about["metrics"] = _short(compiled["metrics"])
    if compiled.get("strategy"):
        address = compiled["strategy"].get("config", {}).get("address")
        about["server"] = address or "in the same process"
    try:
        about |= of_weights(io.BytesIO(weights)) | of_moment(
            inner.get("moment")
        )
    except OSError as error:
        raise OSError(f"its weights: {error}") from error
    return about | {
        "keras": metadata.get("keras_version"),
        "saved": metadata.get("date_saved"),
    }


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MOST:
        raise ValueError(f"{name} in it has more than {_MOST >> 30} GiB")
    return archive.read(name)


def _ends(inner: dict[str, Any]) -> Facts:
    """Inputs and outputs: names, and shapes where the config says them."""
    parts = [inner.get(n) for n in ("head", "tail", "body")] + [
        {"config": inner}
    ]
    shapes: dict[str, Any] = {}
    for part in parts:
        for layer in ((part or {}).get("config") or {}).get("layers", []):
            if layer.get("class_name") == "InputLayer":
                one = layer["config"]
                name = one.get("name", layer.get("name"))
                shapes[name] = {
                    "name": name,
                    "shape": list(one.get("batch_shape", [None]))[1:],
                    "dtype": one.get("dtype"),
                }
    if "wiring" in inner:
        wiring = inner["wiring"]
        inputs = [shapes.get(n, {"name": n}) for n in wiring["inputs"]]
        return {"inputs": inputs, "outputs": wiring["output_names"]}
    return {} if "body" in inner else {"inputs": list(shapes.values())}


def _names(value: Any) -> Any:
    """Names of objects in a config, as short as they can be said."""
    if isinstance(value, dict) and "class_name" in value:
        return value["class_name"]
    if isinstance(value, dict):
        return {k: _names(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_names(v) for v in value]
    return value


def _short(value: Any) -> Any:
    """A loss or metrics: names instead of configs."""
    if isinstance(value, dict) and "class_name" in value:
        inner = value.get("config")
        if value["class_name"] == "function" and isinstance(inner, str):
            return inner
        options = inner if isinstance(inner, dict) else {}
        told = {
            k: v
            for k, v in options.items()
            if k in ("from_logits", "label_smoothing") and v
        }
        extra = ", ".join(f"{k}={v}" for k, v in told.items())
        return value["class_name"] + (f"({extra})" if extra else "")
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_short(v) for v in value]
    return value
