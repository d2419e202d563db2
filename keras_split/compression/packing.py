"""Small integers in full bytes, in TensorFlow operations that LiteRT has."""

import tensorflow as tf


def pack(codes: tf.Tensor, bits: int) -> tf.Tensor:
    """Float codes `(batch, elements)` to full bytes, first in the low bits."""
    per_byte = 8 // bits
    elements = codes.shape[1]
    nbytes = -(-elements // per_byte)
    if per_byte > 1:
        if padding := nbytes * per_byte - elements:
            codes = tf.pad(codes, ((0, 0), (0, padding)))
        # A matrix product is the fastest way to add neighbours, in TensorFlow
        # and in LiteRT; sums of at most 255 are exact in any order.
        weights = [[2.0 ** (bits * i)] for i in range(per_byte)]
        codes = tf.matmul(tf.reshape(codes, (-1, per_byte)), weights)
        codes = tf.reshape(codes, (-1, nbytes))
    return tf.cast(codes, tf.uint8)


def unpack(codes: tf.Tensor, bits: int, elements: int) -> tf.Tensor:
    """The inverse of `pack`."""
    width = 8
    while width > bits:
        width //= 2
        codes = _halve(codes, width)
    nbytes = codes.shape[1]
    codes = tf.cast(codes, tf.float32)
    return codes if nbytes == elements else codes[:, :elements]


def _halve(codes: tf.Tensor, width: int) -> tf.Tensor:
    """Splits each uint8 in two: its low `width` bits, then the rest."""
    nbytes = codes.shape[1]
    low_and_high = tf.cast(codes, tf.float32)
    high = tf.floor(low_and_high * 2.0**-width)
    # low + 256 * high as a uint16 whose two bytes, on the little-endian
    # machines that TensorFlow and LiteRT run on, are the answer.
    pairs = low_and_high + (256.0 - 2.0**width) * high
    pairs = tf.bitcast(tf.cast(pairs, tf.uint16), tf.uint8)
    return tf.reshape(pairs, (-1, 2 * nbytes))
