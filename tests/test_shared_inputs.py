"""Inputs that a user lets the server have: said aloud, sent, and no others."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_split
from keras_split import device
from keras_split.audit.runner import check
from keras_split.compression.shared import SharedSpec
from keras_split.defenses.accountant import Accountant
from keras_split.errors import CutError
from keras_split.errors import DataError
from keras_split.errors import DefenseError
from keras_split.errors import OptionError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.files import facts
from keras_split.protocol import validation
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Infer
from tests import nets

CUT = ["a", "b"]
MASK = SharedSpec("padding_mask", (10,), "int32", "bits")
LOSS = "sparse_categorical_crossentropy"


def cut(share=("padding_mask",), where=CUT, **options):
    options = {"quantization": "float32"} | options
    model = nets.built(nets.masked)
    return keras_split.compile(model, where, share=share, **options)


def compiled(**options):
    client, server = cut(**options)
    client.compile(keras.optimizers.SGD(0.1), LOSS)
    return client, server


def other_numbers():
    x, y = nets.texts()
    return x | {"padding_mask": 2 * x["padding_mask"]}, y


class Tap(keras_split.SessionTap):
    """Keeps what a session sends."""

    def __init__(self):
        self.messages = []

    def sent(self, message):
        self.messages.append(message)


def test_no_input_leaves_without_consent_and_the_refusal_says_how_to_give_it():
    with pytest.raises(CutError, match=r"share=\['padding_mask'\]"):
        cut(share=())


@pytest.mark.parametrize(
    "share, words",
    [
        (["mask"], "'token_ids', 'padding_mask'. Received: 'mask'"),
        (["token_ids", "padding_mask"], "Received: 'token_ids', which no"),
    ],
)
def test_consent_is_for_inputs_that_the_server_needs(share, words):
    with pytest.raises(CutError) as info:
        cut(share=share)

    names = sorted(["'token_ids'", "'padding_mask'"])
    assert words.replace("'token_ids', 'padding_mask'", ", ".join(names)) in (
        str(info.value)
    )


def test_a_packing_that_would_lose_something_is_refused_when_it_is_cut():
    with pytest.raises(OptionError, match="Expected a packing of 'padding_ma"):
        keras_split.Partition(nets.masked(), CUT, {"padding_mask": "float32"})


def test_a_plan_gives_no_consent():
    with pytest.raises(OptionError, match="Name the layers, or leave share"):
        cut(where="auto")


def test_a_partition_says_it_aloud():
    partition = keras_split.Partition(
        nets.masked(), CUT, share=["padding_mask"]
    )

    assert partition.shared_specs == (MASK,)
    for text in (str(partition), partition._repr_html_()):
        assert "padding_mask" in text and "Shared: the server gets" in text
    assert "Shared" not in str(keras_split.Partition(nets.dense(), CUT))


def test_a_contract_carries_it_and_counts_its_bytes():
    contract = cut()[0].contract

    assert contract.shared == (MASK,)
    assert type(contract).from_config(contract.get_config()) == contract
    without = dataclasses.replace(contract, shared=())
    assert "shared" not in without.get_config()
    assert (
        contract.bytes_per_sample()[0] - without.bytes_per_sample()[0]
        == MASK.bytes_per_example
        == 2
    )


def test_halves_that_share_otherwise_do_not_agree():
    ours, theirs = cut()[0].contract, cut({"padding_mask": "int32"})[0].contract

    assert ours.fingerprint == theirs.fingerprint
    with pytest.raises(ProtocolError, match="shared inputs 'padding_mask'"):
        validation.check_contract(theirs, ours)


def test_files_tell_of_it():
    told = facts.of_contract(cut()[0].contract.get_config())

    assert told["shared_inputs"] == ["padding_mask"]
    assert told["crossing"][-1] == {
        "tensor": "padding_mask",
        "direction": "up",
        "shape": [10],
        "bytes_per_sample": 2,
    }


@pytest.mark.parametrize(
    "microbatches", [1, pytest.param(3, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "where", [CUT, pytest.param(["a"], marks=pytest.mark.slow)]
)
def test_it_trains_as_the_whole_model(where, microbatches):
    if len(where) == 1 and microbatches > 1:
        pytest.skip("microbatches are for models that are cut twice")
    whole = nets.built(nets.masked)
    client, server = cut(where=where)
    for model in (whole, client):
        model.compile(keras.optimizers.SGD(0.5), LOSS)
    client.compile(
        keras.optimizers.SGD(0.5),
        LOSS,
        strategy=keras_split.SplitStrategy(microbatches=microbatches),
    )
    x, y = nets.texts()
    options = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0}

    whole.fit(x, y, **options)
    client.fit(x, y, **options)

    tail = client.tail.variables if client.tail else []
    mine = [*client.head.variables, *server.body.variables, *tail]
    by_path = {v.path: np.array(v) for v in mine}
    for variable in whole.variables:
        np.testing.assert_allclose(by_path[variable.path], variable, 0, 1e-5)
    np.testing.assert_allclose(
        client.predict(x, verbose=0), whole.predict(x, verbose=0), 0, 1e-5
    )
    np.testing.assert_allclose(client(x), whole(x), 0, 1e-5)


def test_over_grpc_the_mask_is_all_that_crosses_of_the_inputs(tmp_path):
    x, y = nets.texts()
    here, _ = compiled(quantization="int8")
    client, server = compiled(quantization="int8")
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    client = keras_split.load_model(tmp_path / "client.keras")
    server = keras_split.load_model(tmp_path / "server.keras")
    tap = Tap()

    with server.serve(port=0) as running:
        strategy = keras_split.SplitStrategy(
            f"grpc://127.0.0.1:{running.port}", taps=[tap]
        )
        client.compile(keras.optimizers.SGD(0.1), LOSS, strategy=strategy)
        client.fit(x, y, batch_size=7, shuffle=False, verbose=0)
        made = client.predict(x, verbose=0)
        client.close()

    here.fit(x, y, batch_size=7, shuffle=False, verbose=0)
    np.testing.assert_allclose(made, here.predict(x, verbose=0), 0, 1e-6)
    ups = [m for m in tap.messages if isinstance(m, Forward | Infer)]
    assert len(ups) == 3
    for message in ups:
        smashed, mask = message.tensors
        assert (smashed.name, mask.name) == ("a", "padding_mask")
        assert mask.codes.dtype == "uint8" and mask.codes.shape[1:] == (2,)
    bits = np.unpackbits(ups[0].tensors[1].codes, axis=1, bitorder="little")
    np.testing.assert_array_equal(bits[:, :10], x["padding_mask"][:7])


def test_a_number_that_the_packing_does_not_hold_is_refused_before_it_is_sent():
    client, _ = compiled()
    x, y = other_numbers()

    for use in (
        lambda: client.fit(x, y, verbose=0),
        lambda: client.predict(x, verbose=0),
        lambda: client(x),
    ):
        with pytest.raises(DataError, match="zeros and ones .* Received: 2 in"):
            use()


def segmented():
    """The body looks up the input `segments` in a table of three rows."""
    ids = keras.Input((10,), dtype="int32", name="token_ids")
    segments = keras.Input((10,), dtype="int32", name="segments")
    x = keras.layers.Embedding(12, 4, name="a")(ids)
    x = x + keras.layers.Embedding(3, 4, name="kinds")(segments)
    x = keras.layers.Dense(4, name="b")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dense(3, activation="softmax")(x)
    return keras.Model({"token_ids": ids, "segments": segments}, x)


@pytest.mark.parametrize("value", [3, -4])
def test_an_id_that_the_body_has_no_row_for_is_refused_by_name(value):
    client, server = keras_split.compile(segmented(), CUT, share=["segments"])
    client.compile(keras.optimizers.SGD(0.1), LOSS)
    x, y = nets.texts(4)
    x = {"token_ids": x["token_ids"], "segments": x["padding_mask"] * 0 + value}
    before = [np.array(v) for v in server.body.variables]
    words = f"from 0 to 2 in the shared input 'segments', .*ceived: {value}"

    # In one graph with the server, and in messages.
    for use in (client.train_on_batch, client.test_on_batch):
        with pytest.raises(RefusedError, match=words) as info:
            use(x, y)

        assert info.value.reason == "shape"
    for mine, old in zip(server.body.variables, before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_a_pipeline_that_does_not_know_its_lengths_is_checked():
    client, _ = compiled()
    x, y = nets.texts()

    def batches(length):
        rows = ({k: v[:4, :length] for k, v in x.items()}, y[:4])
        signature = keras.tree.map_structure(
            lambda a: tf.TensorSpec((None,) * a.ndim, a.dtype), rows
        )
        return tf.data.Dataset.from_generator(
            lambda: iter([rows]), output_signature=signature
        ).repeat()

    client.fit(batches(10), steps_per_epoch=1, shuffle=False, verbose=0)
    with pytest.raises(DataError, match=r"shape \(10,\) in the input '"):
        client.fit(batches(9), steps_per_epoch=1, shuffle=False, verbose=0)
    with pytest.raises(DataError, match=r"fix_length\(model, length\)"):
        client.evaluate(batches(9), steps=1, verbose=0)


def test_another_packing_holds_it():
    client, _ = compiled(share={"padding_mask": "int8"})
    x, y = other_numbers()

    client.fit(x, y, verbose=0)


def test_halves_with_a_shared_input_become_one_model_again():
    client, server = compiled()
    x, _ = nets.texts()

    whole = keras_split.join(client, server)

    np.testing.assert_allclose(
        whole.predict(x, verbose=0), client.predict(x, verbose=0), 0, 1e-6
    )


def test_bottlenecks_leave_it_as_it_is():
    client, server = compiled(bottleneck=2)
    x, y = nets.texts()

    client.fit(x, y, verbose=0)

    assert [spec.shape for spec in client.contract.smashed] == [(10, 2)]
    assert client.contract.shared == (MASK,)


def test_who_cannot_heed_it_refuses():
    client, _ = compiled(defenses=[keras_split.defenses.GaussianNoise(0.1)])

    with pytest.raises(OptionError, match="the server is sent that as it is"):
        check(client)
    with pytest.raises(DefenseError, match="shares 'padding_mask'"):
        Accountant(client, "inputs")


def exported(path, **options):
    """A phone's file, and its server."""
    client, server = compiled(**options)
    client.export(path, batch_size=4)
    return server


def shared_of(tap):
    """Codes of the mask in each message that took it to the server."""
    ups = [m for m in tap.messages if isinstance(m, Forward | Infer)]
    assert all(m.tensors[1].name == "padding_mask" for m in ups)
    return [m.tensors[1].codes for m in ups]


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["bits", "int8", "int32"])
def test_a_phone_sends_it_as_keras_does(packing, tmp_path):
    x, y = nets.texts()
    share = {"padding_mask": packing}
    path = tmp_path / "client.tflite"
    taps = [Tap(), Tap()]

    client, server = cut(share=share)
    with server.serve(port=0) as running:
        strategy = keras_split.SplitStrategy(
            f"grpc://{running.target}", taps=taps[:1]
        )
        client.compile(keras.optimizers.SGD(0.1), LOSS, strategy=strategy)
        history = client.fit(
            x, y, batch_size=4, epochs=2, shuffle=False, verbose=0
        )
        expected = client.predict(x, batch_size=4, verbose=0)
        client.close()
    server = exported(path, share=share)
    with (
        server.serve(port=0) as running,
        device.Client(path, f"grpc://{running.target}") as phone,
    ):
        phone.session.taps.append(taps[1])
        data = device.batches(x, y, 4, seed=None)
        made = phone.fit(data, epochs=2, verbose=False)
        predicted = phone.predict(x)

    np.testing.assert_allclose(made["loss"], history.history["loss"], 1e-5)
    np.testing.assert_allclose(predicted, expected, 0, 1e-5)
    for one, other in zip(*map(shared_of, taps), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_phone_refuses_a_number_that_the_packing_does_not_hold(tmp_path):
    x, y = other_numbers()
    path = tmp_path / "client.tflite"
    server = exported(path)

    with (
        server.serve(port=0) as running,
        device.Client(path, f"grpc://{running.target}") as phone,
    ):
        for use in (
            lambda: phone.fit(device.batches(x, y, 4), verbose=False),
            lambda: phone.predict(x),
        ):
            with pytest.raises(DataError, match="Expected zeros and ones in"):
                use()


@pytest.mark.slow
def test_an_int8_file_is_calibrated_with_it(tmp_path):
    x, _ = nets.texts()
    client, server = cut()
    path = tmp_path / "client.tflite"
    expected = client.predict(x, verbose=0)

    client.export(path, mode="infer", precision="int8", calibration=x)

    with (
        server.serve(port=0) as running,
        device.Client(path, f"grpc://{running.target}") as phone,
    ):
        np.testing.assert_allclose(phone.predict(x), expected, 0, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["keras", "phone"])
def test_a_hijack_detector_compares_the_smashed_data_alone(where, tmp_path):
    x, y = nets.texts()
    path = tmp_path / "client.tflite"
    client, server = compiled()
    if where == "phone":
        server = exported(path)
        detector = device.HijackDetector(1, seed=0)
        data = device.batches(x, y, 4, seed=None)

    if where == "keras":
        detector = keras_split.HijackDetector(1, seed=0)
        client.fit(x, y, batch_size=7, callbacks=[detector], verbose=0)
    else:
        with (
            server.serve(port=0) as running,
            device.Client(path, f"grpc://{running.target}") as phone,
        ):
            phone.fit(data, detector=detector, verbose=False)

    assert detector.checks
    assert min(check.agreement for check in detector.checks) > 0.97
