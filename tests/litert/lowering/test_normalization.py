import pytest
import tensorflow as tf

from keras_split.errors import ExportError
from tests.litert.lowering.gradients import assert_runs_in_litert
from tests.litert.lowering.gradients import assert_same_gradients


def batch_norm(training, data_format="NHWC"):
    def function(x, scale, offset):
        return tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=scale,
            offset=offset,
            mean=[] if training else [0.1, 0.2, -0.3],
            variance=[] if training else [1.0, 2.0, 3.0],
            epsilon=1e-3,
            is_training=training,
            data_format=data_format,
        ).y

    return function


ROWS = {"FusedBatchNormV3": (batch_norm(True), (2, 4, 3, 3), (3,), (3,))}


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_has_its_stock_gradients(training):
    # The operation knows no float64.
    assert_same_gradients(
        batch_norm(training),
        (2, 4, 3, 3),
        (3,),
        (3,),
        dtype=tf.float32,
        tolerance=2e-6,
    )


@pytest.mark.parametrize("row", ROWS)
def test_rows_run_in_litert(row):
    assert_runs_in_litert(*ROWS[row])


def test_channels_first_says_what_to_do():
    with pytest.raises(ExportError, match=r"FusedBatchNormV3.*channels_last"):
        assert_same_gradients(
            batch_norm(True, "NCHW"),
            (2, 3, 4, 3),
            (3,),
            (3,),
            dtype=tf.float32,
        )
