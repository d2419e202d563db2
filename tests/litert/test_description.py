"""What client.json says of the data."""

import numpy as np
import pytest

from keras_split import DataSpec
from keras_split.errors import ExportError
from keras_split.litert.description import data_spec
from tests import links

NAMES = ("cat", "dog", "fox")


def test_it_is_what_the_client_says():
    client, _ = links.halves()
    client.data_spec = spec = DataSpec(NAMES, [[1 / 255]])

    assert data_spec(client, None) == spec


def test_preprocessing_may_be_given_instead():
    client, _ = links.halves()  # of gray images
    client.data_spec = DataSpec(NAMES, [[1 / 255]])

    made = data_spec(client, lambda x: x - 127.0)

    assert made == DataSpec(NAMES, [[1]], [-127])


def test_preprocessing_that_it_cannot_hold_is_refused(tmp_path):
    client, _ = links.halves()

    for mode in ("train", "infer"):
        with pytest.raises(ExportError, match="Make what else it does a layer"):
            client.export(
                tmp_path / "client.tflite", mode=mode, preprocess=np.sqrt
            )
    assert not [*tmp_path.iterdir()]
