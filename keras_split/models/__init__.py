"""The two Keras models that a cut makes of one."""

from keras_split import threads
from keras_split.models.client import ClientModel
from keras_split.models.client import SplitWeights
from keras_split.models.server import ServerModel

threads.reserve()

__all__ = ["ClientModel", "ServerModel", "SplitWeights"]
