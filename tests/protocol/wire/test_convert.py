from dataclasses import replace

import numpy as np
import pytest

from keras_split.compression import codecs
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import ProtocolError
from keras_split.protocol import messages
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import split_pb2 as pb
from tests.golden.messages import SAMPLES

LIMIT = 1 << 20
RAW = codecs.get("raw")
CONTRACT = Contract(
    fingerprint="f" * 64,
    cut=("first", "block/second"),
    smashed=(TensorSpec("a", (3, 2)), TensorSpec("b", (4,))),
    features=(TensorSpec("c", ()),),
    quantization=Quantization(
        Rule("int4", "channel", "stochastic"), "bfloat16"
    ),
    codec="zstd",
    labels_on_server=True,
)


def cut_tensor(name="a", dtype="uint8", rows=2):
    codes = (np.arange(12) % 2).astype(dtype).reshape(2, 6)
    scales = np.arange(2.0 * rows, dtype="float32").reshape(rows, 2)
    return CutTensor(name, (2, 3, 2), codes, scales if rows else None)


TENSORS = [cut_tensor(), cut_tensor("b", "float16", 0)]
MESSAGES = [
    messages.Hello(CONTRACT, '{"class_name": "SGD"}', "{}", 7, "s", 5),
    messages.Welcome("s", 3, 1 << 40, "labels travel", 2, True, True),
    messages.Forward("s", 5, TENSORS),
    messages.Features(-1, TENSORS, 0.25),
    messages.Backward("s", 5, TENSORS, 1e-3, early=True),
    messages.SmashedGrad(5, TENSORS, 4),
    messages.Infer("s", TENSORS),
    messages.LabeledStep(
        "s",
        5,
        [cut_tensor()],
        [cut_tensor("labels_0", "int64", 0)],
        [cut_tensor("sample_weights_0", "float32", 0)],
        0.1,
    ),
    messages.LabeledResult(5, 0.5, [cut_tensor("p")], [cut_tensor("t")]),
    messages.Snapshot("s"),
    messages.SnapshotTaken("0123456789abcdef"),
    messages.Restore("s", "0123456789abcdef", True),
    messages.Release("s", "0123456789abcdef"),
    messages.Checkpoint("s"),
    messages.Goodbye("s"),
    messages.Done(),
    messages.Refusal("shape", "Expected. Received."),
    messages.Committed(5, 4),
    messages.Hello(CONTRACT, data=DataDigest("a" * 64, "b" * 64)),
    *(
        m
        for m in SAMPLES.values()
        if type(m).__module__.endswith("cohort_messages")
    ),
    SAMPLES["Welcome, cohort"],
    SAMPLES["Hello, follows"],
    SAMPLES["Welcome, elsewhere"],
    SAMPLES["Forward, merged"],
]


def plain(value):
    """Something that compares by value, tensors included."""
    if isinstance(value, CutTensor):
        scales = value.scales
        return (
            value.name,
            value.shape,
            value.codes.dtype.name,
            value.codes.shape,
            value.codes.tobytes(),
            None if scales is None else (scales.shape, scales.tobytes()),
        )
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def sent(message, codec=RAW):
    envelope, payload = convert.to_wire(message, codec)
    return pb.Envelope.FromString(envelope.SerializeToString()), b"".join(
        payload
    )


def test_every_message_has_a_sample_here():
    assert {type(m) for m in MESSAGES} == set(messages.Message.__subclasses__())


@pytest.mark.parametrize("codec", codecs.names())
@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_was(message, codec):
    codec = codecs.get(codec)

    envelope, payload = sent(message, codec)
    received = convert.from_wire(envelope, payload, codec, LIMIT)

    assert type(received) is type(message)
    assert {k: plain(v) for k, v in vars(received).items()} == {
        k: plain(v) for k, v in vars(message).items()
    }


@pytest.mark.parametrize(
    "dtype",
    "bool uint8 uint16 int8 int16 int32 int64 float16 float32 float64".split(),
)
def test_codes_and_labels_of_every_dtype_travel(dtype):
    message = messages.Infer("s", [cut_tensor("a", dtype, 0)])

    received = convert.from_wire(*sent(message), RAW, LIMIT)

    assert received.tensors[0].codes.dtype == dtype
    assert plain(received.tensors[0]) == plain(message.tensors[0])


def test_tensors_that_are_not_contiguous_travel():
    codes = np.arange(24, dtype="uint8").reshape(4, 6)[::2]
    message = messages.Infer("s", [CutTensor("a", (2, 6), codes)])

    received = convert.from_wire(*sent(message), RAW, LIMIT)

    assert received.tensors[0].codes.tolist() == codes.tolist()


def test_the_payload_is_announced_in_full():
    envelope, payload = sent(MESSAGES[2])

    assert envelope.payload_bytes == len(payload) == 12 + 16 + 24


def test_only_labeled_messages_have_room_for_labels():
    """In a U shape there is no field that could carry x or y."""
    fields = {
        descriptor.name: set(descriptor.fields_by_name)
        for descriptor in pb.DESCRIPTOR.message_types_by_name.values()
    }

    assert fields.pop("LabeledStep") >= {"labels", "sample_weights"}
    for names in fields.values():
        assert not names & {"labels", "sample_weights", "inputs", "x", "y"}


def test_an_empty_envelope_is_refused():
    with pytest.raises(ProtocolError, match="Received: an empty envelope"):
        convert.from_wire(pb.Envelope(), b"", RAW, LIMIT)


@pytest.mark.parametrize("missing", [1, 8, 20, 51])
def test_a_truncated_payload_is_refused(missing):
    envelope, payload = sent(MESSAGES[2])

    with pytest.raises(ProtocolError, match="is truncated. Send it") as info:
        convert.from_wire(envelope, payload[:-missing], RAW, LIMIT)

    assert info.value.reason == "truncated"


def test_a_payload_with_more_than_its_tensors_is_refused():
    envelope, payload = sent(MESSAGES[2])

    with pytest.raises(ProtocolError) as info:
        convert.from_wire(envelope, payload + b"!", RAW, LIMIT)

    assert info.value.reason == "truncated"
    assert str(info.value) == (
        "Expected a payload of 52 bytes: codes_bytes of its tensors, and 8 "
        "for each of their scale_rows. Received: 1 bytes more."
    )


def test_a_dtype_that_is_no_dtype_of_codes_is_refused():
    envelope, payload = sent(MESSAGES[6])
    envelope.infer.tensors[0].dtype = "object"

    with pytest.raises(ProtocolError, match="Received: 'object'") as info:
        convert.from_wire(envelope, payload, RAW, LIMIT)

    assert info.value.reason == "shape"


@pytest.mark.parametrize(
    "claim",
    [
        {"codes_shape": [1 << 47, 1 << 47]},
        {"codes_shape": [LIMIT + 1]},
        {"scale_rows": 1 << 60},
    ],
    ids=["product", "codes", "scales"],
)
def test_a_claim_over_the_limit_is_refused_before_anything_is_allocated(claim):
    tensor = pb.Tensor(name="a", shape=[2, 6], dtype="uint8", **claim)
    envelope = pb.Envelope(infer=pb.Infer(session="s", tensors=[tensor]))

    with pytest.raises(ProtocolError, match="over the limit") as info:
        convert.from_wire(envelope, b"", RAW, LIMIT)

    assert info.value.reason == "size"


def test_the_limit_counts_all_tensors_together():
    envelope, payload = sent(MESSAGES[2])

    with pytest.raises(ProtocolError, match="Received: 'b'"):
        convert.from_wire(envelope, payload, RAW, 12 + 16 + 23)


def test_codes_that_the_codec_cannot_decode_are_refused():
    codec = codecs.get("zstd")
    envelope, payload = sent(MESSAGES[6], codec)
    broken = b"\0" * 4 + payload[4:]

    with pytest.raises(ProtocolError, match="cannot be decoded") as info:
        convert.from_wire(envelope, broken, codec, LIMIT)

    assert info.value.reason == "codec"


def test_codes_of_another_size_than_their_shape_are_refused():
    envelope, payload = sent(MESSAGES[6])
    envelope.infer.tensors[0].codes_shape[:] = [2, 7]

    with pytest.raises(ProtocolError, match="Expected raw data") as info:
        convert.from_wire(envelope, payload, RAW, LIMIT)

    assert info.value.reason == "shape"


@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize(
    "change", [{"codes_shape": [2, 7]}, {"codes_shape": [3, 6]}]
)
def test_what_does_not_fit_names_the_tensor_and_its_fields(codec, change):
    codec = codecs.get(codec)
    envelope, payload = sent(MESSAGES[6], codec)
    tensor = envelope.infer.tensors[0]
    tensor.codes_shape[:] = change["codes_shape"]

    with pytest.raises(ProtocolError) as info:
        convert.from_wire(envelope, payload, codec, LIMIT)

    assert info.value.reason == "shape"
    assert str(info.value).startswith(
        f"In tensor {tensor.name!r} of dtype {tensor.dtype}, codes_shape "
        f"{tuple(tensor.codes_shape)} and codes_bytes {tensor.codes_bytes}: "
        f"Expected {codec.name} data that holds"
    )


@pytest.mark.parametrize("field", ["codes_bytes", "scale_rows", "dtype"])
def test_every_field_of_a_tensor_that_is_wrong_is_refused_by_name(field):
    envelope, payload = sent(MESSAGES[6])
    tensor = envelope.infer.tensors[-1]
    if field == "dtype":
        tensor.dtype = "uint3"
    else:
        setattr(tensor, field, getattr(tensor, field) + 1)

    with pytest.raises(ProtocolError) as info:
        convert.from_wire(envelope, payload, RAW, LIMIT)

    assert info.value.reason in ("shape", "truncated")
    assert repr(tensor.name) in str(info.value)


@pytest.mark.parametrize("field", ["activations", "gradients"])
def test_a_rule_that_does_not_exist_is_refused_by_the_name_of_its_field(field):
    envelope, payload = sent(MESSAGES[0])
    rule = getattr(envelope.hello.contract, field)
    for change in ({"dtype": "int3"}, {"rounding": "up"}, {"granularity": ""}):
        rule.MergeFrom(pb.Rule(dtype="int8", rounding="nearest"))
        rule.granularity = "example"
        for name, value in change.items():
            setattr(rule, name, value)

        with pytest.raises(ProtocolError, match=f"contract.{field}") as info:
            convert.from_wire(envelope, payload, RAW, LIMIT)

        assert info.value.reason == "quantization"
        assert [*change.values()][0] in str(info.value)


def test_an_empty_rule_and_no_contract_are_refused_with_what_is_missing():
    envelope, payload = sent(MESSAGES[0])
    hello = envelope.hello

    hello.contract.gradients.Clear()
    with pytest.raises(
        ProtocolError,
        match="whole Rule in contract.gradients: dtype, granularity, rounding. "
        "Received: one without dtype, granularity, rounding.",
    ):
        convert.from_wire(envelope, payload, RAW, LIMIT)
    hello.ClearField("contract")
    with pytest.raises(ProtocolError, match="Hello with a contract") as info:
        convert.from_wire(envelope, payload, RAW, LIMIT)

    assert info.value.reason == "protocol"


def test_a_contract_says_which_inputs_are_shared():
    mask = SharedSpec("padding_mask", (10,), "int32", "bits")
    sharing = replace(CONTRACT, shared=(mask,))

    received = convert.from_wire(*sent(messages.Hello(sharing)), RAW, LIMIT)

    assert received.contract == sharing != CONTRACT


def test_a_contract_keeps_the_order_of_its_tensors():
    turned = replace(CONTRACT, smashed=CONTRACT.smashed[::-1])

    received = convert.from_wire(*sent(messages.Hello(turned)), RAW, LIMIT)

    assert received.contract == turned != CONTRACT


@pytest.mark.parametrize(
    "shape", [[1 << 63, 0], [1 << 63] * 9999, [1] * 65], ids=["a", "b", "c"]
)
def test_a_shape_that_numpy_cannot_hold_is_refused(shape):
    tensor = pb.Tensor(name="a", dtype="uint8", codes_shape=shape)
    envelope = pb.Envelope(infer=pb.Infer(session="s", tensors=[tensor]))

    with pytest.raises(ProtocolError, match="Expected codes of shape") as info:
        convert.from_wire(envelope, b"", RAW, LIMIT)

    assert info.value.reason == "shape"


@pytest.mark.parametrize(
    "rate, said, comes",
    [(0.5, True, None), (0.0, True, True), (0.0, None, None)],
)
def test_a_learning_rate_of_zero_is_told_from_none(rate, said, comes):
    """One that nobody said, as messages of older versions have it."""
    message = messages.Backward("s", 0, [], rate, rate_said=said)

    envelope, payload = convert.to_wire(message, RAW)
    received = convert.from_wire(envelope, b"".join(payload), RAW, LIMIT)

    assert received.learning_rate == rate
    assert received.rate_said is comes
