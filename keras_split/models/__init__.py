"""The two Keras models that a cut makes of one."""

from keras_split.models.client import ClientModel
from keras_split.models.server import ServerModel
from keras_split.models.snapshot_weights import SplitWeights
from keras_split.training import tf_threads

tf_threads.reserve()

__all__ = ["ClientModel", "ServerModel", "SplitWeights"]
