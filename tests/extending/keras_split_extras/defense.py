"""Another defense: the server never sees all channels of an example."""

from keras import ops

from keras_split import defenses


@defenses.register("hidden_channels")
class HiddenChannels(defenses.Defense):
    """Sends only a part of the channels, others for each example and step.

    What is not sent is zero, and so is its gradient. A product with 0 or 1
    is exact: the phone's file has the same bits.
    """

    def __init__(self, part=0.9):
        self.part = part

    def apply(self, x, key, where):
        one_place = (*[1] * (len(x.shape) - 2), x.shape[-1])
        sent = key.uniform(one_place) < self.part
        return x * ops.cast(sent, x.dtype)

    def get_config(self):
        return {"part": self.part}
