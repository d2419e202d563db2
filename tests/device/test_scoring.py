from types import SimpleNamespace

import numpy as np
import pytest

from keras_split.device import batches
from keras_split.device.description import Output
from keras_split.device.description import Tensor
from keras_split.device.scoring import DeviceScorer
from keras_split.errors import DataError
from keras_split.evaluation.meaning import LOGITS
from keras_split.protocol.data_spec import DataSpec
from tests import links
from tests.device.conftest import export


@pytest.fixture(scope="module")
def served():
    with links.served(inference_only=True) as made:
        yield made


@pytest.fixture
def pictures():
    """Images of 0 to 255; the net takes them as they are."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, (11, 16, 16, 1)).astype(np.uint8), np.arange(
        11
    ) % 3


def test_loss_and_counts_are_those_of_evaluate_and_predict(
    served, phone, pictures
):
    client = phone(served[2])
    x, y = pictures
    wanted = client.evaluate(batches(x.astype("float32"), y, 8, None))
    outputs = client.predict(x.astype("float32"))
    uplink, done = client.uplink_bytes, []

    logs, tally = DeviceScorer(client).evaluate(x, y, 99, done.append)

    assert logs == wanted
    assert done == [8, 11]
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (y, outputs.argmax(1)), 1)
    np.testing.assert_array_equal(tally.confusion, counts)
    # Each image travels once, whatever is asked of it.
    assert client.uplink_bytes - uplink < 0.6 * uplink


def test_a_file_that_only_infers_has_counts_and_no_loss(
    served, phone, pictures, tmp_path
):
    path = tmp_path / "client.tflite"
    export(links.halves()[0], path, mode="infer", batch_size=4)
    client = phone(served[2], path=path)

    logs, tally = DeviceScorer(client).evaluate(*pictures, 99)

    assert (logs, tally.images) == ({}, 11)
    np.testing.assert_allclose(
        DeviceScorer(client).predict(pictures[0]),
        phone(served[2]).predict(pictures[0].astype("float32")),
        atol=1e-5,
    )


def test_outputs_that_are_no_numbers_are_refused(served, phone, pictures):
    client = phone(served[2])
    state = client.get_state()
    client._model.set_state({n: v * np.nan for n, v in state.items()})

    with pytest.raises(DataError, match="Expected finite outputs"):
        DeviceScorer(client).evaluate(*pictures, 8)


def test_a_state_comes_back_without_moving_the_server(
    phone, pictures, tmp_path
):
    path = tmp_path / "state.npz"
    x, y = pictures
    data = batches(x.astype("float32"), y, 8)
    with links.served() as (_, server, address):
        client = phone(address)
        client.fit(data, verbose=False)
        client.save_state(path)
        saved = client.get_state()
        client.fit(data, epochs=2, verbose=False)
        body = [np.array(v) for v in server.variables]

        client.load_state(path, body=False)

        for name, value in client.get_state().items():
            np.testing.assert_array_equal(value, saved[name])
        for variable, value in zip(server.variables, body, strict=True):
            np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("units", [1, 3])
def test_outputs_are_logits_where_client_json_says_so(units):
    image = Tensor("image", (16, 16, 1), "float32")
    output = Output("y", (units,), "float32", None, "any", True, True)
    about = SimpleNamespace(
        inputs=[image], outputs=[output], data_spec=DataSpec()
    )

    scorer = DeviceScorer(SimpleNamespace(description=about))

    assert scorer.meaning == LOGITS
    assert scorer.classes == max(units, 2)
