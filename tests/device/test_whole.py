import json

import keras
import numpy as np
import pytest

from keras_split.device.whole import WholeScorer
from keras_split.device.whole import read_data_spec
from keras_split.errors import DataError
from keras_split.protocol.data_spec import DataSpec
from tests import links
from tests.device.conftest import export

layers = keras.layers
X = np.random.default_rng(0).integers(0, 255, (7, 6, 5, 3)).astype(np.uint8)


def write(path, outputs=2, inputs=1, batch=None):
    """A whole model as .tflite, and the same in Keras."""
    keras.utils.set_random_seed(0)
    images = [keras.Input(batch_shape=(batch, 6, 5, 3)) for _ in range(inputs)]
    flat = layers.Flatten()(sum(images[1:], images[0]) / 255)
    made = layers.Dense(
        outputs, activation="softmax" if outputs > 1 else "sigmoid"
    )(flat)
    model = keras.Model(images, made)
    model.export(path, format="litert", verbose=False)
    return model


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_it_says_what_keras_says_whatever_its_batch(tmp_path, batch):
    model = write(tmp_path / "whole.tflite", batch=batch)
    scorer = WholeScorer(tmp_path / "whole.tflite", num_threads=1)

    made = [scorer.predict(X), scorer.predict(X[:2]), scorer.predict(X)]

    wanted = np.array(model.call(keras.ops.convert_to_tensor(X, "float32")))
    for outputs in made:
        np.testing.assert_allclose(outputs, wanted[: len(outputs)], atol=1e-6)
    logs, tally = scorer.evaluate(X, np.arange(7) % 2, 3)
    assert (logs, tally.images) == ({}, 7)
    assert scorer.shape == (6, 5, 3)


def test_images_are_scaled_as_the_json_beside_it_says(tmp_path):
    model = write(tmp_path / "whole.tflite")
    about = {
        "class_names": ["cat", "dog"],
        "preprocess": {
            "matrix": (np.eye(3) * 3).tolist(),
            "offset": [1.0, 2.0, 3.0],
        },
    }
    (tmp_path / "whole.json").write_text(json.dumps(about))

    scorer = WholeScorer(tmp_path / "whole.tflite")

    x = X * np.float32(3) + np.array([1, 2, 3], np.float32)
    np.testing.assert_allclose(
        scorer.predict(X), model.predict(x, verbose=0), atol=1e-6
    )
    assert scorer.data_spec.class_names == ("cat", "dog")


def test_a_file_that_is_no_such_model_is_refused_in_words(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"x" * 100)
    half = tmp_path / "half.tflite"
    export(links.halves()[0], half, mode="infer")
    half.with_suffix(".json").unlink()
    write(tmp_path / "two.tflite", inputs=2)
    write(tmp_path / "one.tflite", outputs=1)

    for name, text in (
        ("absent.tflite", "which is no file"),
        ("broken.tflite", "LiteRT can load"),
        ("broken.tflite", "again with keras-split join -o whole.tflite"),
        ("two.tflite", "takes one image"),
        ("half.tflite", "no such file. Copy both"),
    ):
        with pytest.raises(DataError, match=text):
            WholeScorer(tmp_path / name)
    with pytest.raises(DataError, match="a number for each class"):
        WholeScorer(tmp_path / "one.tflite").evaluate(X, np.zeros(7), 2)


def test_one_number_tells_two_classes_apart_if_they_have_names(tmp_path):
    model = write(tmp_path / "one.tflite", outputs=1)
    (tmp_path / "one.json").write_text('{"class_names": ["cat", "dog"]}')

    scorer = WholeScorer(tmp_path / "one.tflite")
    _, tally = scorer.evaluate(X, np.ones(7, int), 3)

    dogs = model.predict(X.astype("float32"), verbose=0) > 0.5
    assert tally.confusion.tolist() == [[0, 0], [7 - dogs.sum(), dogs.sum()]]


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{"preprocess": 3}', '{"preprocess": {"matrix": 3}}']
    + ["[" * 100_000],
    ids=lambda text: text[:20],
)
def test_a_json_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "whole.json"
    path.write_text(text)

    with pytest.raises(DataError, match=str(path)):
        read_data_spec(tmp_path / "whole.tflite")


def test_a_json_of_another_model_is_refused(tmp_path):
    (tmp_path / "whole.tflite").write_bytes(b"one")
    (tmp_path / "whole.json").write_text('{"tflite_sha256": "ab12"}')

    with pytest.raises(DataError, match="sha256 ab12.*another model"):
        read_data_spec(tmp_path / "whole.tflite")
    assert read_data_spec(tmp_path / "whole.keras") == DataSpec()


def test_a_model_of_images_of_any_size_is_refused(tmp_path):
    images = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(images))
    path = tmp_path / "whole.tflite"
    keras.Model(images, x).export(path, format="litert", verbose=False)

    with pytest.raises(DataError, match="of one size"):
        WholeScorer(path)
