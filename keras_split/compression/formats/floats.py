"""float32, float16 and bfloat16: numbers as they are, or with fewer bits."""

from typing import TYPE_CHECKING

import numpy as np

from keras_split.compression.formats.format import Array
from keras_split.compression.formats.format import FloatFormat
from keras_split.compression.formats.format import floats_are_finite

if TYPE_CHECKING:
    import tensorflow as tf

_FLOAT16_MAX = 65504.0


class Float32(FloatFormat):
    """The numbers as they are."""

    name = "float32"
    bits = 32
    code_dtype = "float32"
    exact = True

    def encode(self, x: "tf.Tensor") -> "tf.Tensor":
        """Returns `x` itself."""
        return x

    def decode(self, codes: "tf.Tensor") -> "tf.Tensor":
        """Returns `codes` themselves."""
        return codes

    def from_float(self, values: Array) -> Array:
        """Returns `values` themselves."""
        return values

    def to_float(self, codes: Array) -> Array:
        """Returns `codes` themselves."""
        return codes


class Float16(FloatFormat):
    """Half precision, which saturates at 65504 instead of overflowing.

    An infinity stays one, so that it is seen.
    """

    name = "float16"
    bits = 16
    code_dtype = "float16"

    def encode(self, x: "tf.Tensor") -> "tf.Tensor":
        """Casts float32 to float16; finite values stay finite."""
        import tensorflow as tf

        # The added term is far below half a unit in the last place of
        # anything finite, and keeps an infinity infinite.
        bounded = tf.clip_by_value(x, -_FLOAT16_MAX, _FLOAT16_MAX)
        return tf.cast(bounded + x * 2.0**-126, tf.float16)

    def decode(self, codes: "tf.Tensor") -> "tf.Tensor":
        """Casts to float32."""
        import tensorflow as tf

        return tf.cast(codes, tf.float32)

    def from_float(self, values: Array) -> Array:
        """Casts to float16."""
        return values.astype(np.float16)

    def to_float(self, codes: Array) -> Array:
        """Casts to float32."""
        return codes.astype(np.float32)

    def is_finite(self, codes: Array, scales: Array | None) -> bool:
        """Asks the codes, without making them wider first."""
        return floats_are_finite(codes)

    def scaled(
        self, codes: Array, scales: Array | None, factor: float
    ) -> tuple[Array, Array | None]:
        """Multiplies in float16."""
        return codes * np.float16(factor), None


class BFloat16(FloatFormat):
    """float32 without its last 16 bits, rounded to nearest.

    Codes are the bit patterns, as uint16, for NumPy has no such dtype. A
    value that rounds beyond the range becomes infinite, and is seen.
    """

    name = "bfloat16"
    bits = 16
    code_dtype = "uint16"

    def encode(self, x: "tf.Tensor") -> "tf.Tensor":
        """Casts to bfloat16 and takes the bits."""
        import tensorflow as tf

        return tf.bitcast(tf.cast(x, tf.bfloat16), tf.uint16)

    def decode(self, codes: "tf.Tensor") -> "tf.Tensor":
        """Reads the bits as bfloat16."""
        import tensorflow as tf

        return tf.cast(tf.bitcast(codes, tf.bfloat16), tf.float32)

    def from_float(self, values: Array) -> Array:
        """Cuts the last bits off, toward zero."""
        return (values.view(np.uint32) >> 16).astype(np.uint16)

    def to_float(self, codes: Array) -> Array:
        """Appends 16 zero bits."""
        return (codes.astype(np.uint32) << 16).view(np.float32)

    def is_finite(self, codes: Array, scales: Array | None) -> bool:
        """Whether no exponent is all ones."""
        return bool(((codes & 0x7F80) != 0x7F80).all())
