"""The moment of a half, beside its weights in a file of Keras."""

import json
from typing import Any

import numpy as np

_KEY = "moment"


def save_moment(store: Any, config: dict[str, Any]) -> None:
    """Puts plain values into what Keras gives to `save_own_variables`."""
    store[_KEY] = np.frombuffer(json.dumps(config).encode(), np.uint8)


def load_moment(store: Any) -> dict[str, Any] | None:
    """Reads them back; None from a file of a version that wrote none."""
    if _KEY not in store.keys():
        return None
    config: dict[str, Any] = json.loads(bytes(np.array(store[_KEY])))
    return config
