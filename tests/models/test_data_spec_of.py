"""What a client says of its data must fit its network."""

import keras
import numpy as np
import pytest

import keras_split
from keras_split import DataSpec
from keras_split.errors import DataError
from tests import links
from tests import nets

NAMES = ("cat", "dog", "fox")
GRAY = [[1 / 255]]


def cut(**options):
    return keras_split.compile(links.net(), links.CUT, **options)


def test_a_pair_is_labeled_when_it_is_made():
    client, server = cut(data_spec=DataSpec(NAMES, GRAY))

    assert client.data_spec == DataSpec(NAMES, GRAY)
    assert server.data_digest == client.data_spec.digest


def test_a_pair_is_labeled_later_on(tmp_path):
    client, server = cut()
    assert client.data_spec == DataSpec()
    assert not server.data_digest
    assert not server.half.data

    client.data_spec = DataSpec(NAMES)

    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    client = keras_split.load_model(tmp_path / "client.keras")
    server = keras_split.load_model(tmp_path / "server.keras")
    assert client.data_spec.class_names == NAMES
    assert server.data_digest == DataSpec(NAMES).digest
    assert server.half.data == server.data_digest
    assert "cat" not in str(server.get_config())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (DataSpec(NAMES[:2]), "output has: 3"),
        (DataSpec((*NAMES, "cow")), "output has: 3.*Received: 4"),
        (DataSpec(NAMES, np.eye(3)), "one for 3 channels"),
        ("cat", "Expected a keras_split.DataSpec"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(spec, words):
    client, server = cut(data_spec=DataSpec(NAMES))

    with pytest.raises(DataError, match=words):
        client.data_spec = spec
    assert client.data_spec == DataSpec(NAMES)
    assert server.data_digest == DataSpec(NAMES).digest
    with pytest.raises(DataError, match=words):
        cut(data_spec=spec)


def test_one_output_tells_two_classes_apart():
    model = links.net(classes=1)

    client, _ = keras_split.compile(
        model, links.CUT, data_spec=DataSpec(("no", "yes"))
    )

    assert client.data_spec.class_names == ("no", "yes")


def test_nobody_knows_which_of_several_outputs_has_the_classes():
    client, _ = keras_split.compile(nets.built(nets.two_by_two), ["a", "flat"])

    client.data_spec = DataSpec(("cat", "dog"), GRAY)

    assert client.data_spec.class_names == ("cat", "dog")


def test_a_model_that_is_cut_once_has_its_classes_at_the_server():
    client, _ = keras_split.compile(
        links.net(), "first", data_spec=DataSpec(("cat", "dog"))
    )

    assert client.data_spec.class_names == ("cat", "dog")


def test_a_client_says_it_to_its_server():
    client, server = cut()
    links.compile(client, keras.optimizers.SGD(0.1))
    client.data_spec = DataSpec(NAMES)
    with server.serve(port=0) as running:
        client.compile(
            "sgd",
            "mse",
            strategy=keras_split.SplitStrategy(f"grpc://{running.target}"),
        )
        client.data_spec = DataSpec(NAMES[::-1])
        server.data_digest = DataSpec(NAMES).digest

        with pytest.raises(keras_split.errors.RefusedError) as caught:
            client.connect()

    assert caught.value.reason == "data"
    assert "--classes-from" in str(caught.value)
