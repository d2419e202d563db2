"""The phone's half as a LiteRT file, with LiteRT's own operations only."""

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from keras_split.litert.export import export_training as export_training
    from keras_split.litert.inference import (
        export_inference as export_inference,
    )
    from keras_split.litert.qat import quantize_aware as quantize_aware
    from keras_split.litert.whole import export_whole as export_whole

_HOMES = {
    "export_inference": "inference",
    "export_training": "export",
    "export_whole": "whole",
    "quantize_aware": "qat",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
