"""What a message takes on the wire, for those that do not send it."""

from keras_split.compression.codecs import Codec
from keras_split.protocol.messages import Message
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames


def nbytes(message: Message, codec: Codec) -> int:
    """Bytes of the frames of a message: envelope, codes and scales.

    A codec whose result depends on the data has to encode them for that; raw
    codes are not touched.

    Args:
        message: Any message.
        codec: Packs the codes.
    """
    return frames.nbytes(*convert.to_wire(message, codec))
