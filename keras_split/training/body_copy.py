"""A second body like the first, with variables of its own."""

import keras
import tensorflow as tf

from keras_split.errors import SplitError


def body_copy(body: keras.Model) -> keras.Model:
    """A copy of a body: same layers, same values, nothing shared.

    Values are copied variable by variable, for `Model.get_weights` leaves the
    states of seed generators out, and with them the next dropout.

    Args:
        body: The body as a functional model.

    Raises:
        SplitError: If its layers cannot be made again from their configs.
    """
    try:
        made = keras.models.clone_model(body)
    except Exception as error:  # whatever a layer of others raises
        raise SplitError(
            "Expected a body whose layers can be made again from their "
            f"configs, for each client has a copy. Received: {error} Give "
            "the layer a get_config, or serve one body for all: "
            'bodies="shared".'
        ) from error
    _check_alike(made.variables, body.variables)
    for variable, original in zip(made.variables, body.variables, strict=True):
        # By value: a tensor that an assignment hands on may share its buffer.
        variable.assign(tf.identity(original.value))
    return made


def _check_alike(
    made: list[keras.Variable], body: list[keras.Variable]
) -> None:
    """Refuses a copy whose variables are not those of the body, one by one."""
    copied, original = map(_specs, (made, body))
    if copied == original:
        return
    missing = [
        variable.path
        for variable, spec in zip(body, original, strict=True)
        if spec not in copied
    ]
    raise SplitError(
        f"Expected a copy of the body with its {len(body)} variables. "
        f"Received: {len(made)}; what differs: "
        f"{', '.join(missing[:3]) or 'their order'}. The config of a layer "
        "does not tell all of it; serve one body for all: "
        'bodies="shared".'
    )


def _specs(variables: list[keras.Variable]) -> list[tuple[object, ...]]:
    return [(v.name, tuple(v.shape), v.dtype, v.trainable) for v in variables]
