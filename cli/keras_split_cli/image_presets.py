"""Presets that a command can bring data to: those of images."""

from keras_split import zoo
from keras_split.errors import ZooError

_IN_PYTHON = "In Python it trains: {load}, and client.fit(x, y)"


def image_preset(
    name: str, command: str, advice: str = _IN_PYTHON
) -> zoo.ImagePreset:
    """A preset that takes images.

    Args:
        name: Of the preset.
        command: That wants it, such as `"train"`.
        advice: How it is done with others; `{load}` is a line of Python.

    Raises:
        ZooError: If there is none of that name, or it takes something else.
    """
    preset = zoo.get(name)
    if isinstance(preset, zoo.ImagePreset):
        return preset
    load = f"client, server = keras_split.zoo.load({name!r}"
    load += f", share={list(preset.shares)})" if preset.shares else ")"
    raise ZooError(
        f"Expected a preset of images for keras-split {command}: "
        f"{', '.join(zoo.names('images'))}. Received: {name!r}, which takes "
        f"{preset.KIND}. {advice.format(load=load)}."
    )
