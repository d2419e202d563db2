from keras_split.litert import lowering
from tests.litert.lowering import test_activations
from tests.litert.lowering import test_conv
from tests.litert.lowering import test_depthwise
from tests.litert.lowering import test_normalization
from tests.litert.lowering import test_pooling
from tests.litert.lowering import test_shapes


def test_every_row_has_a_case():
    files = (
        test_activations,
        test_conv,
        test_depthwise,
        test_normalization,
        test_pooling,
        test_shapes,
    )

    tested = {row for file in files for row in file.ROWS}

    assert tested == set(lowering.TABLE)
