"""Cuts a Keras model into head, body and tail."""

from keras_split.partition.partition import Partition
from keras_split.partition.partition import Segment

__all__ = ["Partition", "Segment"]
