"""A format as another package would bring it: fixed point, 8.8 bits."""

import contextlib

import numpy as np

from keras_split.compression import formats

NAN = -(2**15)


class Fixed16(formats.FloatFormat):
    """Steps of 1/256 up to 128; the lowest code is not a number."""

    name = "fixed16"
    bits = 16
    code_dtype = "int16"

    def encode(self, x):
        import tensorflow as tf

        steps = tf.clip_by_value(tf.round(x * 256.0), -32767.0, 32767.0)
        finite = tf.abs(x) <= np.finfo("float32").max
        return tf.cast(tf.where(finite, steps, float(NAN)), tf.int16)

    def decode(self, codes):
        import tensorflow as tf

        steps = tf.cast(codes, tf.float32)
        return tf.where(steps == float(NAN), np.nan, steps * 2.0**-8)

    def from_float(self, values):
        return np.trunc(values * 256).astype(np.int16)

    def to_float(self, codes):
        values = codes.astype(np.float32) / 256
        return np.where(codes == NAN, np.float32(np.nan), values)


@contextlib.contextmanager
def registered(format):
    """Knows a format for a while."""
    formats.register(format)
    try:
        yield format
    finally:
        formats.REGISTRY._items.pop(format.name)
