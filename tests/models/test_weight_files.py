"""Weights from files of other networks."""

import re

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from keras_split.errors import DataError
from keras_split.models.weight_files import load_weights


def net(classes=5, top=True, named=True, convs=2, seed=0):
    """Two convolutions that nobody named behind one that has a name."""
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((8, 8, 2))
    x = layers.Conv2D(3, 3, name="conv" if named else None)(x)
    for _ in range(convs):
        x = layers.Conv2D(3, 1)(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5, seed=seed + 1)(x)
    x = layers.GlobalAveragePooling2D()(x)
    if top:
        x = layers.Dense(classes, name="out")(x)
    return keras.Model(image, x)


def same(one, other):
    return all(
        np.array_equal(a, b)
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True)
    )


def alike(model, donor):
    """Numbers of the layers that have the same weights, of those with any."""
    pairs = zip(model.layers, donor.layers, strict=False)
    pairs = [(a, b) for a, b in pairs if a.weights]
    return [i for i, (a, b) in enumerate(pairs) if same(a, b)]


def old_format(path, model):
    """As Keras 2 wrote weights, and as keras.applications has them."""
    with h5py.File(path, "w") as file:
        owners = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [x.name.encode() for x in owners]
        for layer in owners:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{w.name}:0" for w in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.numpy()


def nameless(path, model):
    """As Keras 3 wrote weights before files told names."""
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        groups = []
        file.visit(groups.append)
        for group in groups:
            file[group].attrs.pop("name", None)


WRITE = {
    "weights.h5": lambda path, model: model.save_weights(path),
    "keras": lambda path, model: model.save(path),
    "h5": old_format,
}


@pytest.mark.parametrize("suffix", WRITE)
def test_all_but_the_classifier_fits_other_classes(suffix, tmp_path):
    path = tmp_path / f"donor.{suffix}"
    donor = net(1000, seed=1)
    WRITE[suffix](path, donor)
    net()  # names that Keras makes up count on
    model = net(5, seed=2)
    out = model.get_layer("out").get_weights()
    seeds = [v.numpy() for v in model.variables if "seed" in v.path]

    loaded = load_weights(model, path)

    assert alike(model, donor) == [0, 1, 2, 3]
    assert len(loaded.loaded) == 4
    assert loaded.skipped == {"out": "(3, 1000) in the file, (3, 5) here"}
    assert "Loaded 4 of 5 layers" in str(loaded)
    assert np.array_equal(out[0], model.get_layer("out").get_weights()[0])
    now = [v.numpy() for v in model.variables if "seed" in v.path]
    assert seeds and np.array_equal(seeds, now)


def test_a_file_without_a_top_fits_but_for_the_top(tmp_path):
    path = tmp_path / "donor.weights.h5"
    donor = net(top=False, seed=1)
    donor.save_weights(path)
    model = net(5, seed=2)

    loaded = load_weights(model, path)

    assert alike(model, donor) == [0, 1, 2, 3]
    assert loaded.skipped == {"out": "not in the file"}


@pytest.mark.parametrize("suffix", WRITE)
def test_unnamed_layers_are_in_the_order_of_the_model(suffix, tmp_path):
    """A model lists layers by depth, whichever was made first."""

    def branched(seed):
        keras.utils.set_random_seed(seed)
        image = keras.Input((4, 4, 2))
        near = layers.Conv2D(2, 1)(image)
        far = layers.Conv2D(2, 1)(layers.Conv2D(2, 1)(image))
        return keras.Model(image, layers.Add()([near, far]))

    path = tmp_path / f"donor.{suffix}"
    donor = branched(1)
    WRITE[suffix](path, donor)
    numbers = [x.name for x in donor.layers if x.weights]
    model = branched(2)

    load_weights(model, path)

    assert numbers != sorted(numbers)
    assert same(model, donor)


def test_a_file_that_tells_no_names_fits_by_order(tmp_path):
    path = tmp_path / "donor.weights.h5"
    donor = net(seed=1)
    nameless(path, donor)
    model = net(seed=2)

    loaded = load_weights(model, path)

    assert same(model, donor)
    assert not loaded.skipped


def test_unnamed_layers_fit_only_where_there_are_as_many(tmp_path):
    """Which of three the two are, nobody knows."""
    path = tmp_path / "donor.weights.h5"
    donor = net(seed=1, convs=3)
    donor.save_weights(path)
    model = net(seed=2)

    loaded = load_weights(model, path)

    assert set(loaded.loaded) == {"conv", "norm", "out"}
    assert set(loaded.skipped.values()) == {"not in the file"}


def test_a_layer_of_another_name_is_not_taken_for_its_neighbour(tmp_path):
    path = tmp_path / "donor.weights.h5"
    net(seed=1).save_weights(path)
    model = net(seed=2)
    model.get_layer("norm").name = "other"

    loaded = load_weights(model, path)

    assert loaded.skipped == {"other": "not in the file"}


def test_a_nested_network_has_the_names_of_a_flat_one(tmp_path):
    path = tmp_path / "donor.weights.h5"
    donor = net(top=False, convs=0, seed=1)
    image = keras.Input((8, 8, 2))
    inner = keras.Model(donor.inputs[0], donor.outputs[0], name="base")
    keras.Model(image, inner(image)).save_weights(path)
    model = net(5, convs=0, seed=2)

    loaded = load_weights(model, path)

    assert loaded.loaded == ("conv", "norm") or set(loaded.loaded) == {
        "conv",
        "norm",
    }
    assert alike(model, donor) == [0, 1]


def test_the_cell_of_a_recurrent_layer_is_its_layer_s(tmp_path):
    def recurrent(classes):
        x = values = keras.Input((4, 2))
        x = layers.LSTM(3, name="first", return_sequences=True)(x)
        x = layers.LSTM(3, name="second")(x)
        return keras.Model(values, layers.Dense(classes, name="out")(x))

    path = tmp_path / "donor.weights.h5"
    donor, model = recurrent(7), recurrent(2)
    donor.save_weights(path)

    loaded = load_weights(model, path)

    assert set(loaded.loaded) == {"first", "second"}
    assert alike(model, donor) == [0, 1]


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_what_cannot_be_read_is_refused_and_changes_nothing(content, tmp_path):
    path = tmp_path / "donor.h5"
    if content is not None:
        path.write_bytes(content)
    model = net()
    before = model.get_weights()

    with pytest.raises(DataError, match=re.escape(str(path))):
        load_weights(model, path)

    pairs = zip(before, model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_file_of_which_nothing_fits_is_refused(tmp_path):
    path = tmp_path / "donor.weights.h5"
    values = keras.Input((3,))
    keras.Model(values, layers.Dense(4, name="far")(values)).save_weights(path)

    with pytest.raises(DataError, match="none fits. It has far"):
        load_weights(net(), path)
