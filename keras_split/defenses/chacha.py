"""A cryptographic stream of random words, for TensorFlow and LiteRT alike.

LiteRT's random operations count on from call to call, so that nothing could
be drawn again, and TensorFlow's stateless ones do not convert. ChaCha is
additions, exclusive ors and rotations of 32-bit integers: exact everywhere.
"""

import hashlib

import numpy as np
import tensorflow as tf

# "Too Much Crypto" (Aumasson, 2019) holds 8 rounds to be as good as the 20
# of RFC 8439: the best attack known reaches 7. Go draws its numbers so, too.
ROUNDS = 8
WORDS = 16  # of a block

_SIGMA = np.frombuffer(b"expand 32-byte k", "<i4").reshape(4, 1)
_Rows = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def key_of(seed: str) -> np.ndarray:
    """A key of 256 bits: 8 words, int32."""
    return np.frombuffer(hashlib.sha256(seed.encode()).digest(), "<i4")


def blocks(
    key: np.ndarray, nonce: tf.Tensor, rounds: int = ROUNDS
) -> tf.Tensor:
    """The blocks of a key at some places of its stream.

    Bernstein, "ChaCha, a variant of Salsa20" (2008); with 20 rounds that of
    RFC 8439, section 2.3.

    Args:
        key: 8 words, int32.
        nonce: The places, int32, shape `(4, count)`: the last row of the
            state.
        rounds: An even number.

    Returns:
        Words, int32, shape `(count, 16)`. All of their bits look random to
        whoever lacks the key.
    """
    # A column of the state lies along the first axis; constants stay one
    # column wide, because a converter would store them as often as there are
    # places.
    start = (
        tf.constant(_SIGMA),
        tf.constant(key[:4].reshape(4, 1)),
        tf.constant(key[4:].reshape(4, 1)),
        nonce,
    )
    rows = start
    for _ in range(rounds // 2):
        rows = _double_round(*rows)
    mixed = [row + first for row, first in zip(rows, start, strict=True)]
    return tf.transpose(tf.concat(mixed, axis=0))


@tf.function(autograph=False)
def _double_round(
    a: tf.Tensor, b: tf.Tensor, c: tf.Tensor, d: tf.Tensor
) -> _Rows:
    """All four columns at once, then all four diagonals.

    A function of its own, so that it is traced once for all rounds.
    """
    a, b, c, d = _quarter_rounds(a, b, c, d)
    b, c, d = _up(b, 1), _up(c, 2), _up(d, 3)
    a, b, c, d = _quarter_rounds(a, b, c, d)
    return a, _up(b, 3), _up(c, 2), _up(d, 1)


def _quarter_rounds(
    a: tf.Tensor, b: tf.Tensor, c: tf.Tensor, d: tf.Tensor
) -> _Rows:
    a = a + b
    d = _rotate(tf.bitwise.bitwise_xor(d, a), 16)
    c = c + d
    b = _rotate(tf.bitwise.bitwise_xor(b, c), 12)
    a = a + b
    d = _rotate(tf.bitwise.bitwise_xor(d, a), 8)
    c = c + d
    b = _rotate(tf.bitwise.bitwise_xor(b, c), 7)
    return a, b, c, d


def _rotate(x: tf.Tensor, bits: int) -> tf.Tensor:
    # LiteRT shifts to the right alone; a product shifts to the left.
    return tf.bitwise.bitwise_xor(x * (1 << bits), high_bits(x, bits))


def high_bits(x: tf.Tensor, bits: int) -> tf.Tensor:
    """The highest bits of words, as integers from 0; int32."""
    unsigned = tf.bitcast(x, tf.uint32)
    shift = tf.constant(32 - bits, tf.uint32)
    return tf.bitcast(tf.bitwise.right_shift(unsigned, shift), tf.int32)


def _up(x: tf.Tensor, places: int) -> tf.Tensor:
    return tf.concat([x[places:], x[:places]], axis=0)
