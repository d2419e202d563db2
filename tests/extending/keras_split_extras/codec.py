"""Another way to pack bytes: DEFLATE, which every phone has."""

import zlib

from keras_split import codecs
from keras_split import errors


class Deflate(codecs.Codec):
    """Packs each tensor with zlib, at its fastest."""

    name = "deflate"

    def encode(self, data):
        return zlib.compress(data, level=1)

    def decode(self, data, nbytes):
        unpacker = zlib.decompressobj()
        try:
            # One byte more than expected tells too many from enough, and 0
            # would mean no limit.
            unpacked = unpacker.decompress(data, nbytes + 1)
        except zlib.error as error:
            raise errors.CodecError(f"Expected DEFLATE. {error}") from error
        if len(unpacked) != nbytes or not unpacker.eof:
            raise errors.CodecError(
                f"Expected {nbytes} bytes in deflate data. Received: "
                f"{len(unpacked)} or more. Name the same codec on both sides."
            )
        return unpacked


codecs.register(Deflate())
