"""How far two views of a batch tell of each other."""

from typing import Any

import tensorflow as tf

_TINY = 1e-30  # a variance of distances


def distance_correlation(x: tf.Tensor, z: tf.Tensor, count: Any) -> tf.Tensor:
    """The squared sample distance correlation of a batch.

    Székely, Rizzo and Bakirov, "Measuring and testing dependence by
    correlation of distances" (2007), definitions 4 and 5: of the Euclidean
    distances between all examples in x, and in z, each less the means of its
    row and column and plus that of all, A and B,

        mean(A B) / sqrt(mean(A A) mean(B B)).

    It is from 0 to 1, and 1 where z is x, moved, turned and scaled.

    Args:
        x: Float32, shape `(batch, n)`.
        z: Float32, shape `(batch, m)`.
        count: How many of the examples are real, the first; a scalar.

    Returns:
        A scalar; 0 where either is the same for all.
    """
    rows = tf.range(tf.cast(tf.shape(x)[0], tf.float32))
    count = tf.cast(count, tf.float32)
    # A reciprocal, because graphs make one of a count that they know.
    share = tf.cast(rows < count, tf.float32) * (1.0 / tf.maximum(count, 1.0))
    a, b = _centered(x, share), _centered(z, share)
    both = tf.reshape(share, (-1, 1)) * share
    covariance = tf.reduce_sum(a * b * both)
    return covariance * _inverse_root(a, both) * _inverse_root(b, both)


def _inverse_root(a: tf.Tensor, both: tf.Tensor) -> tf.Tensor:
    variance = tf.reduce_sum(a * a * both)
    there = variance > _TINY
    return tf.where(there, tf.math.rsqrt(tf.where(there, variance, 1.0)), 0.0)


def _centered(x: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Distances without their means over the real examples."""
    # Less their mean, so that products are not far larger than distances.
    x -= tf.reduce_sum(x * tf.reshape(share, (-1, 1)), 0, keepdims=True)
    distances = _distances(x)
    by_row = tf.reduce_sum(distances * share, 1, keepdims=True)
    everywhere = tf.reduce_sum(by_row * tf.reshape(share, (-1, 1)))
    return distances - by_row - tf.transpose(by_row) + everywhere


def _distances(x: tf.Tensor) -> tf.Tensor:
    """Of all pairs, `(batch, batch)`; 0 for two that hardly differ."""
    squares = tf.reduce_sum(tf.square(x), 1, keepdims=True)
    sums = squares + tf.transpose(squares)
    found = sums - 2.0 * tf.matmul(x, x, transpose_b=True)
    apart = found > 1e-6 * sums  # else it is what rounding left of 0

    @tf.custom_gradient
    def root(found: tf.Tensor) -> Any:
        made = tf.sqrt(tf.where(apart, found, 1.0))

        def grad(upstream: tf.Tensor) -> tf.Tensor:
            return tf.where(apart, 0.5 * upstream / made, 0.0)

        return tf.where(apart, made, 0.0), grad

    distances: tf.Tensor = root(found)
    return distances
