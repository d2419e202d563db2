import pytest
import tensorflow as tf
from hypothesis import assume
from hypothesis import given
from hypothesis import strategies as st

from keras_split.errors import ExportError
from keras_split.litert import lowering
from tests.litert.lowering.gradients import assert_runs_in_litert
from tests.litert.lowering.gradients import assert_same_gradients
from tests.litert.lowering.gradients import few
from tests.litert.lowering.gradients import small

ROWS = {
    "Conv2D": (
        lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"),
        (2, 7, 6, 3),
        (3, 3, 3, 4),
    ),
    "Conv2DBackpropInput": (
        lambda x, k: tf.nn.conv2d_transpose(x, k, (2, 9, 8, 5), 2, "SAME"),
        (2, 5, 4, 3),
        (3, 3, 5, 3),
    ),
}
pairs = st.tuples(small, small)
tiny = st.integers(1, 3)
paddings = st.sampled_from(["SAME", "VALID"])
channels = st.sampled_from([1, 3, 16, 17])


def reference_conv2d(x, kernel, strides, padding, dilations):
    """By the definition, with stock slices, for all that CPUs refuse."""
    rows, columns, channels, filters = kernel.shape
    sizes, margins = [], [(0, 0)]
    for axis, size in ((0, rows), (1, columns)):
        length, reach = x.shape[1 + axis], (size - 1) * dilations[axis]
        if padding == "SAME":
            count = -(-length // strides[axis])
            total = max((count - 1) * strides[axis] + reach + 1 - length, 0)
            margins.append((total // 2, total - total // 2))
        else:
            if padding == "VALID":
                margins.append((0, 0))
            else:
                margins.append(tuple(padding[1 + axis]))
            total = length + sum(margins[-1]) - reach - 1
            count = total // strides[axis] + 1
        sizes.append(count)
    x = tf.pad(x, [*margins, (0, 0)])
    groups = x.shape[3] // channels
    taps = []
    for i in range(rows):
        for j in range(columns):
            top, left = i * dilations[0], j * dilations[1]
            tap = x[:, top :: strides[0], left :: strides[1]]
            tap = tap[:, : sizes[0], : sizes[1]]
            taps.append(tf.reshape(tap, (-1, groups, channels)))
    kernel = tf.reshape(kernel, (len(taps), channels, groups, -1))
    y = tf.einsum("twgc,tcgf->wgf", tf.stack(taps), kernel)
    return tf.reshape(y, (-1, *sizes, filters))


def fits(image, kernel, dilations):
    return all(
        length > (size - 1) * dilation
        for length, size, dilation in zip(image, kernel, dilations, strict=True)
    )


@few
@given(pairs, pairs, pairs, paddings, channels, channels)
def test_conv2d_has_its_stock_gradients(
    image, kernel, strides, padding, channels, filters
):
    image = [3 + n for n in image]
    assume(fits(image, kernel, (1, 1)))

    assert_same_gradients(
        lambda x, k: tf.nn.conv2d(x, k, strides, padding),
        (2, *image, channels),
        (*kernel, channels, filters),
    )


@few
@given(
    pairs,
    st.tuples(tiny, tiny),
    st.tuples(tiny, tiny),
    paddings,
    st.tuples(tiny, tiny),
    st.integers(1, 2),
    st.sampled_from([2, 16]),
)
def test_conv2d_with_dilation_and_groups(
    image, kernel, strides, padding, dilations, groups, channels
):
    image = [6 + n for n in image]
    assume(fits(image, kernel, dilations))

    assert_same_gradients(
        lambda x, k: tf.nn.conv2d(x, k, strides, padding, dilations=dilations),
        (1, *image, groups * channels),
        (*kernel, channels, groups * 3),
        reference=lambda x, k: reference_conv2d(
            x, k, strides, padding, dilations
        ),
    )


@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1)])
def test_conv2d_with_explicit_padding(channels, strides):
    padding = [(0, 0), (2, 1), (0, 3), (0, 0)]

    assert_same_gradients(
        lambda x, k: tf.nn.conv2d(x, k, strides, padding),
        (2, 6, 7, channels),
        (3, 2, channels, 16),
        reference=lambda x, k: reference_conv2d(x, k, strides, padding, (1, 1)),
    )


@few
@given(pairs, pairs, pairs, paddings, channels)
def test_a_transposed_convolution_has_its_stock_gradients(
    image, kernel, strides, padding, channels
):
    if padding == "SAME":
        output = [n * s for n, s in zip(image, strides, strict=True)]
    else:
        output = [
            (n - 1) * s + k
            for n, s, k in zip(image, strides, kernel, strict=True)
        ]

    assert_same_gradients(
        lambda x, k: tf.nn.conv2d_transpose(
            x, k, (2, *output, 3), strides, padding
        ),
        (2, *image, channels),
        (*kernel, 3, channels),
    )


@few
@given(pairs, pairs, st.tuples(tiny, tiny), paddings, pairs, channels)
def test_convolve_is_conv2d(
    image, kernel, strides, padding, dilations, channels
):
    image = [6 + n for n in image]
    assume(fits(image, kernel, dilations))

    def convolve(x, k):
        return lowering.convolve(x, k, list(strides), padding, dilations)

    def reference(x, k):
        return reference_conv2d(x, k, strides, padding, dilations)

    assert_same_gradients(
        convolve,
        (2, *image, channels),
        (*kernel, channels, 5),
        reference=reference,
    )
    x = tf.random.normal((2, *image, channels), dtype=tf.float64)
    k = tf.random.normal((*kernel, channels, 5), dtype=tf.float64)
    tf.debugging.assert_near(convolve(x, k), reference(x, k), 1e-10, 1e-10)


@pytest.mark.parametrize("strides", [1, 2])
def test_large_batches_are_convolved_image_by_image(strides, monkeypatch):
    monkeypatch.setattr("keras_split.litert.lowering.conv._MOST_TAP_BYTES", 0)

    @tf.function
    def split(x, kernel):
        return lowering.convolve(x, kernel, strides, "SAME")

    x, kernel = tf.ones((3, 6, 5, 16)), tf.ones((3, 3, 16, 2))
    kinds = [
        o.type
        for o in split.get_concrete_function(x, kernel).graph.get_operations()
    ]
    assert kinds.count("BatchMatMulV2") + kinds.count("MatMul") == 3 * 9
    assert_same_gradients(
        lambda x, k: lowering.convolve(x, k, strides, "SAME"),
        (3, 6, 5, 16),
        (3, 3, 16, 2),
        reference=lambda x, k: tf.nn.conv2d(x, k, strides, "SAME"),
    )


def test_convolve_leaves_groups_to_the_table():
    graph = tf.function(lowering.convolve).get_concrete_function(
        tf.TensorSpec((1, 4, 4, 32)), tf.TensorSpec((3, 3, 16, 32))
    )

    assert "Conv2D" in [op.type for op in graph.graph.get_operations()]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_convolutions_over_one_axis_go_through_the_same_row(stride, padding):
    assert_same_gradients(
        lambda x, k: tf.nn.conv1d(x, k, stride, padding), (2, 8, 3), (3, 3, 4)
    )


@pytest.mark.parametrize("row", ROWS)
def test_rows_run_in_litert(row):
    assert_runs_in_litert(*ROWS[row])


@pytest.mark.parametrize(
    ("channels", "size", "strides", "dilations"),
    [(3, 3, 2, 1), (16, 3, 1, 1), (16, 3, 2, 1), (16, 1, 1, 1), (16, 2, 1, 2)],
)
def test_convolve_runs_in_litert(channels, size, strides, dilations):
    assert_runs_in_litert(
        lambda x, k: lowering.convolve(x, k, strides, "same", dilations),
        (2, 7, 6, channels),
        (size, size, channels, 5),
        reference=lambda x, k: reference_conv2d(
            x, k, (strides,) * 2, "SAME", (dilations,) * 2
        ),
    )


def test_channels_first_says_what_to_do():
    with pytest.raises(ExportError, match=r"Conv2D.*channels_last"):
        assert_same_gradients(
            lambda x, k: tf.nn.conv2d(x, k, 1, "VALID", data_format="NCHW"),
            (1, 3, 5, 5),
            (3, 3, 3, 2),
        )


def test_an_unknown_batch_says_what_to_do():
    @tf.function(autograph=False)
    def gradient(x, k):
        with lowering.builtin_gradients():
            return tf.gradients(tf.nn.conv2d(x, k, 1, "VALID"), k)

    with pytest.raises(ExportError, match=r"Conv2D.*fixed batch size"):
        gradient.get_concrete_function(
            tf.TensorSpec((None, 5, 5, 3)), tf.TensorSpec((3, 3, 3, 2))
        )
