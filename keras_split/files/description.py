"""What a client.json says, or the .json of a whole model."""

import hashlib
import json
from pathlib import Path
from typing import Any

from keras_split.files.facts import Facts
from keras_split.files.facts import of_contract
from keras_split.files.facts import of_data
from keras_split.files.facts import of_moment
from keras_split.utils.broken_json import BROKEN_JSON

_KINDS = {
    "train": "the phone's half that trains with LiteRT",
    "infer": "the phone's half that predicts with LiteRT",
    "whole": "a whole model",
}


def of_description(config: dict[str, Any]) -> Facts:
    """Facts of the .json beside a .tflite or a .keras.

    Raises:
        KeyError: If it is another .json.
    """
    about: Facts = {
        "kind": f"{_KINDS[config['mode']]}, described for programs",
        **of_moment(config.get("moment")),
    }
    if "contract" in config:
        about |= of_contract(config["contract"])
    preprocess = config.get("preprocess") or {}
    about |= of_data(
        {"class_names": config.get("class_names", ())} | preprocess
    )
    if config.get("defenses"):
        about["defenses"] = config["defenses"]
    about["inputs"] = config["inputs"]
    about["outputs"] = config["outputs"]
    optimizer = config.get("optimizer")
    if optimizer:
        about["optimizer"] = optimizer["name"]
        about["learning_rate"] = optimizer["learning_rate"]
    for name in ("batch_size", "precision"):
        if name in config:
            about[name] = config[name]
    if config.get("state"):
        about["state_tensors"] = len(config["state"])
    return about | {"keras_split": config.get("keras_split")}


def of_json(path: Path) -> Facts:
    """Facts of a .json.

    Raises:
        ValueError: If it is none of ours.
        KeyError: Likewise.
    """
    config = json.loads(path.read_bytes())
    if not isinstance(config, dict) or config.get("mode") not in _KINDS:
        raise ValueError("it describes no model of ours")
    return of_description(config)


def beside(path: Path, key: str) -> Facts:
    """Facts of the .json beside a model, if it belongs to that file.

    Args:
        path: The model.
        key: Under which the .json has the model's hash.
    """
    about = path.with_suffix(".json")
    if not about.is_file():
        return {}
    try:
        config = json.loads(about.read_bytes())
        expected = config.get(key)
        facts = of_description(config)
    except BROKEN_JSON:
        return {"described_by": f"none: {about.name} cannot be read"}
    with path.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != expected:
            return {"described_by": f"none: {about.name} is of another file"}
    kind = facts["kind"].partition(",")[0]
    return facts | {"kind": kind, "described_by": about.name}
