import keras
import numpy as np
import pytest
from PIL import Image

from keras_split import datasets
from keras_split.errors import DataError


def test_keras_trains_on_photos_in_files_as_on_those_in_memory(tmp_path):
    """Two epochs, and the second alone from where the first ended."""
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        Image.new("L", (2, 2), 40 * number).save(file)
    x = datasets.to_model_input(
        datasets.Photos(files, (2, 2, 1)), (2, 2, 1), "tf"
    )
    y = np.arange(6) % 2

    def model():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(2)]
        made = keras.Sequential([keras.Input((2, 2, 1)), *layers])
        made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
        return made

    streamed, held, resumed = model(), model(), model()
    streamed.fit(datasets.batches(x, y, 4, 3), epochs=2, shuffle=False)
    for epoch in range(2):
        batches = datasets.batches(np.asarray(x), y, 4, 3, epoch)
        for number in range(len(batches)):
            held.train_on_batch(*batches[number])
    resumed.fit(datasets.batches(x, y, 4, 3), shuffle=False)
    resumed.fit(datasets.batches(x, y, 4, 3, epoch=1), shuffle=False)

    for other in (held, resumed):
        for a, b in zip(
            streamed.get_weights(), other.get_weights(), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(("labels", "batch"), [(5, 2), (3, 2), (4, 0)])
def test_examples_without_a_label_and_empty_batches_are_refused(labels, batch):
    with pytest.raises(DataError, match="4 examples"):
        datasets.batches(np.zeros((4, 1)), np.zeros(labels), batch)
