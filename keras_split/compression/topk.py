"""One value of each block of neighbors, and where it was.

Top-k sparsification in blocks: of each `block` neighbors the value of largest
magnitude crosses, with its position in so few bits that it packs, instead of
the k largest of all with an index each. It learns as well at equal bytes
(docs/quantization.md), costs one pass, and has the same size for every tensor.

Which one it is, is part of the function that both halves differentiate, so
only the gradient of that one comes back, without its position: Zheng et al.,
"Reducing Communication for Split Learning by Randomized Top-k Sparsification",
IJCAI 2023, arXiv 2305.18469.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_split.compression.packing import pack
from keras_split.compression.packing import unpack
from keras_split.compression.rules import Rule
from keras_split.compression.rules import widths


def split(flat: tf.Tensor, block: int) -> tf.Tensor:
    """`(batch, elements)` as `(batch, blocks, block)`, filled with zeros."""
    if missing := -flat.shape[1] % block:
        flat = tf.pad(flat, ((0, 0), (0, missing)))
    return tf.reshape(flat, (-1, flat.shape[1] // block, block))


def largest(blocks: tf.Tensor) -> tf.Tensor:
    """Where the value of largest magnitude is, the first of equals; int32."""
    return tf.argmax(tf.abs(blocks), axis=2, output_type=tf.int32)


def take(blocks: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """The values at the positions, `(batch, blocks)`.

    A product and not a choice, so that a block in which something is not
    finite gives something that is not.
    """
    return tf.reduce_sum(tf.one_hot(positions, blocks.shape[2]) * blocks, 2)


def spread(
    values: tf.Tensor, positions: tf.Tensor, block: int, elements: int
) -> tf.Tensor:
    """Values at their positions and zeros elsewhere, `(batch, elements)`."""
    blocks = tf.one_hot(positions, block) * values[:, :, tf.newaxis]
    flat = tf.reshape(blocks, (-1, values.shape[1] * block))
    return flat if flat.shape[1] == elements else flat[:, :elements]


def pack_positions(positions: tf.Tensor, rule: Rule) -> list[tf.Tensor]:
    """Positions as bytes, in parts whose widths divide a byte."""
    parts = []
    rest = tf.cast(positions, tf.float32)
    for width in widths(rule.position_bits):
        higher = tf.floor(rest * 2.0**-width)
        parts.append(pack(rest - higher * 2.0**width, width))
        rest = higher
    return parts


def positions_of(
    codes: tf.Tensor, rule: Rule, shape: Sequence[int]
) -> tf.Tensor:
    """Which one of each block crosses, read off the codes.

    Args:
        codes: What `quantize` made, with a rule whose positions are sent.
        rule: That rule.
        shape: Shape of one example, without the batch.

    Returns:
        Numbers from 0 to `rule.block - 1`, int32, shape `(batch, values)`.

    Example:
    >>> rule = Rule("int8", block=4)
    >>> codes = tf.concat(pack_positions([[2, 0]], rule), axis=1)
    >>> positions_of(codes, rule, (8,)).numpy()
    array([[2, 0]], dtype=int32)
    """
    values = rule.values_per_example(shape)
    found = tf.zeros((), tf.float32)
    start = shift = 0
    for width in widths(rule.position_bits):
        end = start - (-values * width // 8)
        digits = unpack(codes[:, start:end], width, values)
        found += digits * 2.0**shift
        start, shift = end, shift + width
    return tf.cast(found, tf.int32)
