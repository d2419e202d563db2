"""What a file is, without Keras, and without running anything from it."""

from keras_split.files.facts import Facts
from keras_split.files.look import look

__all__ = ["Facts", "look"]
