"""Code in the class of a model, which a cut would drop.

A cut takes the layers of a model, and Keras trains, evaluates and predicts
with the halves. What the model's class says about any of that is not in its
layers, so a model whose class says something is refused.
"""

from typing import Any

import keras

from keras_split.errors import CutError

# What describes, builds and saves the whole model, and does nothing in `fit`,
# `evaluate` and `predict`.
_HARMLESS = frozenset(
    """
    build build_from_config built compile_from_config count_params dtype
    dtype_policy export from_config get_build_config get_compile_config
    get_config get_layer get_quantization_layer_structure input input_dtype
    input_shape input_spec layers load_assets load_own_variables load_weights
    name output output_shape path quantize save save_assets
    save_own_variables save_weights summary supports_masking to_json
    """.split()
)


_OF_HUB = (
    " For a task of keras_hub, cut keras_split.fix_length(model, length): it "
    "takes the layers alone, and data that is preprocessed."
)


def check_own_code(model: keras.Model, harmless: str = "") -> None:
    """Refuses a model whose class has code that a cut would drop.

    Args:
        model: To be cut.
        harmless: A package whose classes may have code: what that does is
            done elsewhere.

    Raises:
        CutError: If it has, with the names of class and methods.
    """
    # Others are no graph of layers, and refused for that.
    found = own_methods(model, harmless) if hasattr(model, "inputs") else []
    if found:
        kind = type(model).__name__
        raise CutError(
            "Expected a model that runs and trains as those of Keras do, for "
            "a cut takes its layers and not the code of its class. Received: "
            f"{model.name!r} of the class {kind}, of which "
            f"{' and '.join(found)} would be dropped. If the layers alone are "
            "meant, cut keras.Model(model.input, model.output), and give what "
            "those methods compute to `compile`, as a loss or a metric."
            + (_OF_HUB if is_of_hub(model) else "")
        )


def own_methods(model: Any, harmless: str = "") -> list[str]:
    """What of Keras' a model overrides and `fit` would run: `"Mine.call"`."""
    kind = type(model)
    of_keras = {
        name
        for base in kind.__mro__
        if _is_keras(base)
        for name in vars(base)
        if name == "__call__" or not name.startswith("__")
    } - _HARMLESS
    found = [
        f"{base.__name__}.{name}"
        for base in kind.__mro__
        if not _is_of(base, harmless)
        for name in vars(base)
        if name in of_keras
    ]
    # Functions that were set on the model itself; `compile` sets the loss.
    found += [
        f"{model.name}.{name}"
        for name in vars(model)
        if name in of_keras - {"loss"} and callable(getattr(kind, name, None))
    ]
    return found


def is_of_hub(model: Any) -> bool:
    """Whether a model is of keras_hub, such as a task with a preprocessor."""
    return type(model).__module__.partition(".")[0] == "keras_hub"


def _is_of(kind: type, package: str) -> bool:
    """Whether a class is of Keras, or of that package."""
    return _is_keras(kind) or kind.__module__.partition(".")[0] == package


def _is_keras(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("keras", "tensorflow")
