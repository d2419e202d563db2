import keras
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_split.errors import ExportError
from keras_split.litert import lowering
from tests.litert.lowering.gradients import assert_runs_in_litert
from tests.litert.lowering.gradients import assert_same_gradients
from tests.litert.lowering.gradients import few
from tests.litert.lowering.gradients import small
from tests.litert.lowering.test_conv import pairs

IMAGE = (2, 6, 5, 3)


def resize(method, size, **attributes):
    resizer = getattr(tf.raw_ops, method)
    return lambda x: tf.cast(
        resizer(images=x, size=size, **attributes), x.dtype
    )


ROWS = {
    "MirrorPad": (
        lambda x: tf.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)), "REFLECT"),
        IMAGE,
    ),
    "Pack": (lambda x: tf.stack([x, 2.0 * x], 2), IMAGE),
    "ResizeBilinear": (
        resize("ResizeBilinear", (11, 3), half_pixel_centers=True),
        IMAGE,
    ),
    "ResizeNearestNeighbor": (
        resize("ResizeNearestNeighbor", (4, 9), half_pixel_centers=True),
        IMAGE,
    ),
    "StridedSlice": (lambda x: x[:, 4:0:-3, 1::2], IMAGE),
    "Tile": (lambda x: tf.tile(x, (1, 2, 1, 3)), IMAGE),
}
SLICES = {
    "crop": lambda x: x[:, 1:3, 1:-1],
    "step": lambda x: x[:, ::2, 1::3],
    "long step": lambda x: x[:, ::9],
    "backwards": lambda x: x[:, ::-1, 4:1:-2],
    "shrink": lambda x: x[:, -1, 2],
    "new axis": lambda x: x[tf.newaxis, :, 1:, tf.newaxis],
    "ellipsis": lambda x: x[1, ..., 1:],
    "ellipsis of nothing": lambda x: x[0:1, :, 1:2, ..., ::2],
    "all": lambda x: x[...],
    "nothing": lambda x: x[:, 3:3],
}
# No rows: TensorFlow's own gradients convert.
STOCK = {
    "concat": lambda x: tf.concat([x, 2.0 * x], 1),
    "global max": lambda x: tf.reduce_max(x, (1, 2)),
    "mean": lambda x: tf.reduce_mean(x, 1),
    "pad": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0))),
    "rest": lambda x: tf.maximum(tf.abs(x), tf.square(tf.minimum(x, 0.5))),
    "softmax": lambda x: tf.nn.softmax(x) + tf.nn.log_softmax(x),
    "transpose": lambda x: tf.transpose(x, (0, 2, 1, 3)),
}


@pytest.mark.parametrize("name", SLICES)
def test_slices_have_their_stock_gradient(name):
    assert_same_gradients(SLICES[name], IMAGE)


@few
@given(st.data())
def test_any_slice_has_its_stock_gradient(data):
    bound = st.none() | st.integers(-8, 8)
    step = st.integers(-3, 3).filter(bool)
    key = tuple(
        slice(data.draw(bound), data.draw(bound), data.draw(step))
        for _ in range(3)
    )

    assert_same_gradients(lambda x: x[key], (4, 5, 6))


@few
@given(st.lists(st.integers(1, 3), min_size=4, max_size=4))
def test_tile_has_its_stock_gradient(copies):
    assert_same_gradients(lambda x: tf.tile(x, copies), (2, 3, 1, 2))


@few
@given(pairs, pairs, st.sampled_from(["REFLECT", "SYMMETRIC"]))
def test_mirror_pad_has_its_stock_gradient(before, after, mode):
    margins = ((0, 0), *zip(before, after, strict=True), (0, 0))

    assert_same_gradients(lambda x: tf.pad(x, margins, mode), (2, 5, 6, 2))


@few
@given(
    st.sampled_from(["ResizeBilinear", "ResizeNearestNeighbor"]),
    pairs,
    pairs,
    small,
    st.sampled_from(["none", "align_corners", "half_pixel_centers"]),
)
def test_resize_has_its_stock_gradient(method, image, size, scale, centers):
    size = [n * scale for n in size]
    attributes = {} if centers == "none" else {centers: True}
    # ResizeBilinear computes in float32 whatever it is given.
    tolerance = 1e-6 if method == "ResizeBilinear" else 1e-10

    assert_same_gradients(
        resize(method, size, **attributes),
        (2, *image, 3),
        tolerance=tolerance,
    )


@pytest.mark.parametrize("axis", [-1, -2, 1])
def test_halves_that_are_stacked_have_their_gradient_in_litert(axis):
    """Unpacked and concatenated, they are a reshape to the converter."""

    def stacked(x):
        x = tf.stack(tf.split(x * x, 2, axis=2), axis=axis)
        return tf.square(x)

    assert_runs_in_litert(stacked, (2, 3, 4))


def test_a_slice_chosen_at_run_time_says_what_to_do():
    @tf.function(autograph=False)
    def gradient(x, start):
        with lowering.builtin_gradients():
            return tf.gradients(x[start:], x)

    with pytest.raises(ExportError, match=r"StridedSlice.*a constant"):
        gradient(tf.ones(5), tf.constant(2))


@pytest.mark.parametrize("row", ROWS)
def test_rows_run_in_litert(row):
    assert_runs_in_litert(*ROWS[row])


@pytest.mark.parametrize("name", STOCK)
def test_what_needs_no_row_runs_in_litert(name):
    assert_runs_in_litert(STOCK[name], IMAGE)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.UpSampling2D(2),
        keras.layers.UpSampling2D(2, interpolation="bilinear"),
        keras.layers.Resizing(9, 4),
        keras.layers.Cropping2D(1),
        keras.layers.ZeroPadding2D(1),
        keras.layers.GlobalMaxPooling2D(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_have_their_stock_gradients(layer):
    assert_same_gradients(
        lambda x: layer(x), IMAGE, dtype=tf.float32, tolerance=1e-6
    )
