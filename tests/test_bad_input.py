"""What a party gets to read when the other one is wrong, broken or away.

After each refused message the server answers the next good one, and its
weights have not moved.
"""

import contextlib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_split
from keras_split.compression import codecs
from keras_split.compression.tensors import CutTensor
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Restore
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from tests import links

ROOT = Path(__file__).parents[1]
RULES = ["float32", "float16", "bfloat16", "int8"]


class Link:
    """A raw connection to a server, and what its body was at first."""

    def __init__(self, server, wire):
        self.server = server
        self.contract = server.contract
        self.wire = wire
        self.session = wire.exchange(links.hello(server.contract)).session
        self.before = links.state(server)

    def refuses(self, message):
        """Sends a message that must be refused, then one that must not."""
        with pytest.raises(RefusedError) as info:
            self.wire.exchange(message)
        self.still_serves()
        return info.value

    def still_serves(self):
        """The weights have not moved; the next step moves them."""
        assert links.same(links.state(self.server), self.before)
        links.take_step(self.wire.exchange, self.session, self.contract)
        assert not links.same(links.state(self.server), self.before)


@pytest.fixture(scope="module", params=RULES)
def any_server(request):
    return links.halves(request.param)[1]


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@contextlib.contextmanager
def linked(server):
    before = server.half.weights()
    with server.serve(port=0) as running, links.wire(running.target) as wire:
        yield Link(server, wire)
    server.half.set_weights(before)


@pytest.fixture
def any_link(any_server):
    with linked(any_server) as link:
        yield link


@pytest.fixture
def link(server):
    with linked(server) as link:
        yield link


def spoiled(tensors, value):
    """One number of the last example is not one."""
    tensor = tensors[0]
    codes = tensor.codes.copy()
    if tensor.scales is not None:
        scales = tensor.scales.copy()
        scales[-1, 0] = value
        return [replace(tensor, scales=scales)]
    if codes.dtype == np.uint16:
        codes[-1, 3] = np.float32(value).view(np.uint32) >> 16
    else:
        codes[-1, 3] = value
    return [replace(tensor, codes=codes)]


# -- another model, another agreement ----------------------------------------


def connect(client, server, **options):
    """Connects a client to the server of a model that is not its own."""
    with server.serve(port=0) as running:
        links.compile(client, address=f"grpc://{running.target}", **options)
        with pytest.raises(RefusedError) as info:
            client.fit(*links.batch(8), verbose=0)
        assert not client.strategy.connected
        with links.wire(running.target) as wire:
            Link(server, wire).still_serves()
    return info.value


def test_the_server_of_another_model_refuses(server):
    client, _ = links.halves(width=5)

    error = connect(client, server)

    assert error.reason == "fingerprint"
    assert str(error) == (
        "Expected smashed data 'first' (7, 7, 4), as on the server. Received: "
        "'first' (7, 7, 5). Another --bottleneck (quantization small and tiny "
        "bring one) or preset. Name the same on both sides, or export both "
        "halves from one "
        f"keras_split.compile. (Fingerprint {server.contract.fingerprint[:12]} "
        f"on the server, {client.contract.fingerprint[:12]} on the phone.)"
    )


def test_the_server_of_another_cut_refuses(server):
    client, _ = links.halves(cut=("first", "relu"))

    assert connect(client, server).reason == "fingerprint"


@pytest.mark.parametrize("quantization", ["float16", "int8", "int4"])
def test_another_quantization_is_refused(server, quantization):
    client, _ = links.halves(quantization)

    error = connect(client, server)

    assert error.reason == "quantization"
    assert str(error) == (
        f"Expected quantization float32. Received: {quantization}. Pass the "
        "same quantization on both sides."
    )


def test_another_codec_is_refused(server):
    client, _ = links.halves(codec="zstd")

    error = connect(client, server)

    assert error.reason == "codec"
    assert str(error) == (
        "Expected codec raw. Received: zstd. Pass the same codec on both "
        "sides; one of another package is registered on both with "
        "keras_split.codecs.register."
    )


def test_another_protocol_version_is_refused(link):
    hello = replace(links.hello(link.contract), protocol=2)

    error = link.refuses(hello)

    assert error.reason == "protocol"
    assert str(error) == (
        "Expected protocol version 1. Received: 2. Install the same "
        "keras_split on the phone and on the server."
    )


def test_a_model_whose_weights_differ_is_accepted(server):
    """The fingerprint is of architecture, not of values."""
    client, _ = links.halves(seed=9)

    with server.serve(port=0) as running:
        links.compile(client, address=f"grpc://{running.target}")
        client.connect()
        assert client.strategy.connected
        client.close()


# -- tensors -----------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_smashed_data_that_is_not_finite_is_refused(any_link, value):
    bad = spoiled(links.smashed(any_link.contract), value)

    error = any_link.refuses(Forward(any_link.session, 0, bad))

    assert error.reason == "not-finite"
    assert str(error) == (
        "Expected finite numbers in 'first'. Received: NaN or infinity. Lower "
        "the learning rate, or look for a batch with broken inputs."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_smashed_data_for_inference_is_checked_as_well(any_link, value):
    bad = spoiled(links.smashed(any_link.contract), value)

    error = any_link.refuses(Infer(any_link.session, bad))

    assert error.reason == "not-finite"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_not_finite_are_refused(any_link, value):
    smashed = links.smashed(any_link.contract)
    any_link.wire.exchange(Forward(any_link.session, 0, smashed))
    bad = spoiled(links.features_grad(any_link.contract), value)

    error = any_link.refuses(Backward(any_link.session, 0, bad, 0.1))

    assert error.reason == "not-finite"
    assert "Expected finite numbers in 'drop'." in str(error)


@pytest.mark.parametrize("rate", [np.nan, np.inf, -0.1, 1001.0, 1e300])
def test_a_learning_rate_that_is_none_is_refused(link, rate):
    smashed = links.smashed(link.contract)
    link.wire.exchange(Forward(link.session, 0, smashed))
    grad = links.features_grad(link.contract)

    error = link.refuses(Backward(link.session, 0, grad, rate))

    assert error.reason == "learning-rate"
    assert str(error) == (
        "Expected a learning rate of 0 or more, and of at most 1000. "
        f"Received: {rate}. Look at the optimizer and its schedule."
    )


def test_smashed_data_that_would_carry_statistics_away_are_refused(link):
    smashed = links.smashed(link.contract, value=1e16)

    error = link.refuses(Forward(link.session, 0, smashed))

    assert error.reason == "norm"
    assert str(error) == (
        "Expected smashed data with a norm of at most 1e+08. Received: "
        "3.9598e+17. Scale the inputs of the model, or start the server "
        "with a larger --max-smashed-norm."
    )


def test_a_gradient_that_overflows_in_the_body_is_refused(link):
    smashed = links.smashed(link.contract)
    link.wire.exchange(Forward(link.session, 0, smashed))
    grad = links.features_grad(link.contract, value=3e38)

    error = link.refuses(Backward(link.session, 0, grad, 0.1))

    assert error.reason == "norm"
    assert str(error) == (
        "Expected gradients of the features with a norm of at most 1e+06. "
        "Received: 5.09117e+39. The step was not taken; lower the learning "
        "rate or look at the loss, or start the server with a larger "
        "--max-grad-norm."
    )


def test_a_wrong_shape_is_refused(any_link):
    [tensor] = links.smashed(any_link.contract)
    turned = replace(tensor, shape=(8, 4, 7, 7))

    error = any_link.refuses(Forward(any_link.session, 0, [turned]))

    assert error.reason == "shape"
    assert str(error) == (
        "Expected 'first' of shape (batch, 7, 7, 4), the same batch in "
        "every tensor. Received: (8, 4, 7, 7)."
    )


def test_codes_that_do_not_fit_their_shape_are_refused(any_link):
    [tensor] = links.smashed(any_link.contract)
    short = replace(tensor, codes=tensor.codes[:, 1:])

    error = any_link.refuses(Forward(any_link.session, 0, [short]))

    assert error.reason == "shape"
    assert f"codes (8, {tensor.codes.shape[1]}) with" in str(error)
    assert f"codes (8, {tensor.codes.shape[1] - 1})" in str(error)
    assert "Both sides must use the same quantization." in str(error)


def test_tensors_of_another_quantization_are_refused(any_link):
    rule = keras_split.Rule("int4")
    other = links.tensors(any_link.contract.smashed, rule)

    error = any_link.refuses(Forward(any_link.session, 0, other))

    assert error.reason == "shape"
    assert "Both sides must use the same quantization." in str(error)


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_tensors_is_refused(link, count):
    tensors = links.smashed(link.contract) * count

    error = link.refuses(Forward(link.session, 0, tensors))

    assert error.reason == "shape"
    assert str(error).startswith("Expected tensors ['first']. Received: [")


def test_a_batch_of_nothing_is_refused(link):
    [tensor] = links.smashed(link.contract)
    empty = CutTensor("first", (0, 7, 7, 4), tensor.codes[:0])

    error = link.refuses(Forward(link.session, 0, [empty]))

    assert error.reason == "shape"


@pytest.mark.parametrize("missing", [1, 100, 6272])
def test_a_truncated_payload_is_refused(link, missing):
    message = Forward(link.session, 0, links.smashed(link.contract))
    envelope, payload = convert.to_wire(message, codecs.get("raw"))
    whole = b"".join(payload)
    envelope.payload_bytes = len(whole) - missing

    for frame in frames.split(envelope, [whole[: len(whole) - missing]]):
        link.wire._stream.send(frame)
    reply, _ = next(link.wire._envelopes)
    link.still_serves()

    assert reply.refusal.reason == "truncated"
    assert reply.refusal.text == (
        "Expected 6,272 bytes of codes in tensor 'first'. Received: "
        f"{6272 - missing:,}; the payload is truncated. Send it again."
    )


def test_labels_are_refused_by_the_server_of_a_u_shape(link):
    labels = np.zeros(8, "int64")
    message = LabeledStep(
        link.session,
        0,
        links.smashed(link.contract),
        [CutTensor("labels_0", labels.shape, labels)],
        [],
        0.1,
    )

    error = link.refuses(message)

    assert error.reason == "order"
    assert str(error) == (
        "Expected no labels, for this model is cut twice and labels stay on "
        "the phone. Received: a LabeledStep."
    )


def test_steps_out_of_order_are_refused(link):
    grad = links.features_grad(link.contract)

    error = link.refuses(Backward(link.session, 0, grad, 0.1))

    assert error.reason == "order"
    assert str(error) == (
        "Expected the forward of step 0 first. Received: its backward. Send "
        "the smashed data again."
    )


def test_a_batch_over_the_limit_is_refused(server):
    before = server.half.weights()
    with server.serve(port=0, max_message_bytes=10_000) as running:
        with links.wire(running.target) as wire:
            link = Link(server, wire)
            message = Forward(
                link.session, 0, links.smashed(link.contract, size=13)
            )
            error = link.refuses(message)
    server.half.set_weights(before)

    assert error.reason == "size"
    assert str(error) == (
        "Expected a message of at most 10,000 bytes. Received: 10,192 bytes. "
        "Use a smaller batch, or raise the server's --max-batch."
    )


# -- snapshots and optimizers ------------------------------------------------


@pytest.mark.parametrize("tag", ["0123456789abcdef", "../../../etc/passwd"])
def test_an_unknown_snapshot_is_refused(link, tag):
    error = link.refuses(Restore(link.session, tag, True))

    assert error.reason == "snapshot"
    assert str(error) == (
        "Expected the tag of a snapshot of this server (it keeps the last "
        f"64 of a client). Received: {tag!r}. Train again, or restart the "
        "server with the folder that it had: serve --checkpoints FOLDER."
    )


def test_weights_whose_snapshot_is_gone_leave_the_client_as_it_was(tmp_path):
    """A checkpoint may be older than its server."""
    path = tmp_path / "saved.weights.h5"
    with links.served() as (client, _, address):
        links.compile(client, address=address)
        client.fit(*links.batch(8), verbose=0)
        client.save_weights(path)
    with links.served() as (client, server, address):
        links.compile(client, address=address)
        client.fit(*links.batch(8), verbose=0)
        before = [np.array(v) for v in client.variables], links.state(server)

        with pytest.raises(RefusedError, match="Expected the tag of a"):
            client.load_weights(path)

        after = [np.array(v) for v in client.variables], links.state(server)
        assert links.same(after[0], before[0])
        assert links.same(after[1], before[1])
        client.fit(*links.batch(8), verbose=0)


@pytest.mark.parametrize(
    "config, received",
    [
        ("no json", "'no json' (Expecting value: line 1"),
        ('{"class_name": "Dense", "config": {}}', "'Dense'"),
        ('{"class_name": "SGD", "config": {"lr": 1}}', "'lr'"),
    ],
)
def test_a_malformed_optimizer_is_refused(link, config, received):
    error = link.refuses(links.hello(link.contract, config))

    assert error.reason == "optimizer"
    assert str(error).startswith("Expected ")
    assert f"Received: {received}" in str(error) or received in str(error)


def test_an_optimizer_of_the_user_s_own_is_refused_with_the_way_out():
    @keras.saving.register_keras_serializable("tests")
    class Mine(keras.optimizers.SGD):
        pass

    with links.served() as (client, server, address):
        links.compile(client, Mine(0.1), address)

        with pytest.raises(RefusedError) as info:
            client.fit(*links.batch(8), verbose=0)

        assert info.value.reason == "optimizer"
        assert str(info.value) == (
            "Expected an optimizer of keras.optimizers. Received: 'Mine'. For "
            "one of your own start the server with it: "
            "server.compile(optimizer)."
        )


# -- the client refuses to send what is broken --------------------------------


def test_a_broken_batch_never_leaves_the_phone():
    with links.served("int8", "elu") as (client, server, address):
        links.compile(client, address=address)
        x, y = links.batch(8)
        client.train_on_batch(x, y)
        before = [np.array(v) for v in client.variables], links.state(server)
        step, sent = client.strategy.next_step, client.strategy.uplink_bytes
        x[3] = np.inf

        with pytest.raises(keras_split.SplitError, match="a finite 'first'"):
            client.predict(x, verbose=0)
        logs = client.train_on_batch(x, y, return_dict=True)

        assert np.isnan(logs["loss"])
        assert client.strategy.next_step == step
        assert client.strategy.uplink_bytes == sent
        assert links.same(links.state(server), before[1])
        assert links.same([np.array(v) for v in client.weights], before[0][:4])
        assert np.isfinite(client.train_on_batch(*links.batch(8))).all()
