"""Plain values beside the weights in a file of Keras."""

import json
from typing import Any

import numpy as np

MOMENT = "moment"
UNCOUNTED = "uncounted"


def save(store: Any, key: str, config: dict[str, Any]) -> None:
    """Puts plain values into what Keras gives to `save_own_variables`."""
    store[key] = np.frombuffer(json.dumps(config).encode(), np.uint8)


def load(store: Any, key: str) -> dict[str, Any] | None:
    """Reads them back; None from a file of a version that wrote none."""
    if key not in store.keys():
        return None
    config: dict[str, Any] = json.loads(bytes(np.array(store[key])))
    return config
