"""The two Keras models that a cut makes of one."""

from keras_split.errors import SplitError
from keras_split.models.client import ClientModel
from keras_split.models.server import ServerModel
from keras_split.models.snapshot_weights import SplitWeights
from keras_split.training import tf_threads
from keras_split.utils import keras_private

tf_threads.reserve()
keras_private.keep_message(SplitError)

__all__ = ["ClientModel", "ServerModel", "SplitWeights"]
