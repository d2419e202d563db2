"""A defended training is the same training wherever the server is."""

import keras
import numpy as np
import pytest

import keras_split
from keras_split import SplitStrategy
from keras_split.compression.codecs import get as get_codec
from keras_split.defenses import Chain
from keras_split.defenses import Clip
from keras_split.defenses import GaussianMechanism
from keras_split.defenses import GaussianNoise
from keras_split.defenses import GradientNoise
from keras_split.defenses import LaplaceMechanism
from keras_split.defenses import MaxNorm
from keras_split.defenses import NoPeek
from keras_split.defenses import RandomizedResponse
from keras_split.errors import DefenseError
from keras_split.protocol.wire import unary
from tests import links
from tests import nets
from tests.defenses.scaled import Scaled

BOTH = ("smashed", "features_grad")


def chain(seed=7):
    """Noise on both tensors, then factors whose gradient is the draw.

    And labels that are drawn.
    """
    drawn = RandomizedResponse(1.0)
    return Chain([GaussianNoise(0.05, BOTH), Scaled(), drawn], seed)


def mechanisms(seed=7):
    """Clips whose gradients are taken, and noise of whole numbers."""
    return Chain(
        [
            MaxNorm(),
            Clip(3.0, BOTH),
            GaussianMechanism(2.0, 0.05, BOTH),
            GradientNoise(0.1),
            LaplaceMechanism(9.0, 0.01, BOTH),
            NoPeek(0.5),
        ],
        seed,
    )


class Recorded(SplitStrategy):
    """Calls the server message by message, and keeps what was sent."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.smashed, self.grads = [], []

    def forward(self, smashed):
        self.smashed.append(smashed[0])
        return super().forward(smashed)

    def backward(self, features_grad, learning_rate):
        self.grads.append(features_grad[0])
        return super().backward(features_grad, learning_rate)

    def infer(self, smashed):
        self.smashed.append(smashed[0])
        return super().infer(smashed)

    def send_forward(self, smashed, index, count, batch):
        self.smashed.append(smashed[0])
        super().send_forward(smashed, index, count, batch)


def halves(quantization="int8", defenses=None):
    return keras_split.compile(
        links.net(activation="elu"),
        links.CUT,
        quantization=quantization,
        fused_batchnorm=False,
        defenses=chain() if defenses is None else defenses,
    )


def trained(client, server, strategy, size=20):
    """Weights of head, tail and body after three steps, the last a short one.

    Not joined by a strategy that records, so it is a message each way.
    """
    client.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=strategy,
    )
    x, y = links.batch(size)
    client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    own = client.head.variables + client.tail.variables
    values = [np.array(v) for v in own] + links.state(server)
    client.close()
    return values


def same(one, other):
    assert all(
        a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantization", "defenses"),
    [("float32", chain), ("int8", mechanisms)],
    ids=["float32", "int8"],
)
def test_messages_one_graph_and_grpc_train_to_the_same_bits(
    quantization, defenses
):
    by_message = Recorded()
    expected = trained(*halves(quantization, defenses()), by_message)

    client, server = halves(quantization, defenses())
    one_graph = trained(client, server, SplitStrategy())
    assert client.strategy.next_step or client._server_link.joint is not None
    same(one_graph, expected)
    client, _ = halves(quantization, defenses())
    _, server = halves(quantization, defenses())
    with server.serve(port=0) as running:
        far = Recorded(f"grpc://{running.target}")
        same(trained(client, server, far), expected)

    undefended = trained(*halves(quantization, ()), SplitStrategy())
    assert nets.largest_difference(undefended, expected) > 1e-3
    for one, other in zip(
        by_message.smashed + by_message.grads,
        far.smashed + far.grads,
        strict=True,
    ):
        assert one.codes.tobytes() == other.codes.tobytes()


@pytest.mark.slow
def test_microbatches_draw_what_their_batch_does():
    whole, parts = Recorded(), Recorded(microbatches=3)
    trained(*halves("float32"), whole, size=8)

    trained(*halves("float32"), parts, size=8)

    together = np.concatenate([tensor.codes for tensor in parts.smashed])
    np.testing.assert_allclose(together, whole.smashed[0].codes, atol=1e-6)


@pytest.mark.slow
def test_each_step_draws_anew_and_each_prediction_the_same():
    client, server = halves("float32")
    strategy = Recorded()
    client.compile(
        keras.optimizers.SGD(0.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=strategy,
    )
    x, y = links.batch()

    for _ in range(2):
        client.train_on_batch(x, y)
    one = client.predict(x, verbose=0)
    again = client.predict(x, batch_size=4, verbose=0)
    client.close()

    first, second, inferred = (t.codes for t in strategy.smashed[:3])
    assert not np.allclose(first, second, atol=1e-3)
    assert not np.allclose(first, inferred, atol=1e-3)
    np.testing.assert_allclose(one, again, atol=1e-6)


def test_a_client_comes_back_from_its_file_with_its_seed(tmp_path):
    client, server = halves("int8", [GaussianNoise(0.05, BOTH), "scaled"])
    expected_seed = client.defenses.seed
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")

    loaded = keras_split.load_model(tmp_path / "client.keras")

    assert loaded.defenses.seed == expected_seed
    assert loaded.defenses.describe() == client.defenses.describe()
    assert loaded.contract == client.contract
    assert loaded.contract == halves("int8", ())[0].contract
    config = str(client.contract.get_config()) + str(server.get_config())
    assert str(expected_seed) not in config


class Bytes(keras_split.SessionTap):
    """Keeps what would be written to a socket."""

    def __init__(self):
        self.written = []

    def sent(self, message):
        self.written.append(unary.encode(message, get_codec("raw")))


def test_no_message_has_the_seed():
    letters = b"sixteen letters!"
    seed = int.from_bytes(letters, "big")
    client, server = halves("int8", Chain([GaussianNoise(0.05, BOTH)], seed))
    tap = Bytes()

    trained(client, server, SplitStrategy(taps=[tap]))

    assert len(tap.written) >= 7
    everything = b"".join(tap.written)
    for form in (letters, letters[::-1], str(seed).encode(), b"%x" % seed):
        assert form not in everything


def test_a_client_without_defenses_is_saved_as_before():
    client, _ = halves("int8", ())

    assert "defenses" not in client.get_config()


def test_a_defense_of_gradients_that_are_not_sent_is_refused():
    with pytest.raises(DefenseError, match="cut once"):
        keras_split.compile(
            nets.dense(),
            "a",
            defenses=[GaussianNoise(0.1, "features_grad")],
        )


@pytest.mark.parametrize(
    "quantization", [pytest.param("float32", marks=pytest.mark.slow), "int8"]
)
def test_cut_quantizers_make_the_whole_model_train_as_the_halves(quantization):
    keras.utils.set_random_seed(0)
    split = nets.dense()
    noise = Chain(chain().defenses[:2], seed=7)  # its labels are the true ones
    client, _ = keras_split.compile(
        split,
        ["a", "b"],
        quantization=quantization,
        defenses=noise,
    )
    keras.utils.set_random_seed(0)
    layers = nets.dense().layers
    x = layers[1](layers[0].output)
    options = {"quantization": quantization, "defenses": noise}
    x = layers[2](keras_split.CutQuantizer(**options)(x))
    x = keras_split.CutQuantizer(where="features_grad", **options)(x)
    whole = keras.Model(layers[0].output, layers[3](x))
    x, y = nets.vectors(12)

    for model in (client, whole):
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)

    trained_alone = [np.array(v) for v in whole.trainable_variables]
    trained_split = [np.array(v) for v in split.trainable_variables]
    assert nets.largest_difference(trained_alone, trained_split) < 1e-6
