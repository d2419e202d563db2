"""The phone in Python: LiteRT, gRPC and numpy, never TensorFlow or Keras.

    from keras_split.device import Client, batches

    with Client("client.tflite", "grpc://10.0.0.2:50051") as client:
        client.load_state("state.npz")
        client.fit(batches(x, y, client.batch_size), epochs=3)
        client.save_state("state.npz")

`client.tflite` and `client.json` are what `client.export` of a Keras client
wrote. It runs wherever ai-edge-litert does: a Raspberry Pi, Android under
Termux or Chaquopy.
"""

from keras_split.detection import HijackDetector
from keras_split.device.arrays import batches
from keras_split.device.averaging import FederatedAveraging
from keras_split.device.client import Client
from keras_split.device.description import Description

__all__ = [
    "Client",
    "Description",
    "FederatedAveraging",
    "HijackDetector",
    "batches",
]
