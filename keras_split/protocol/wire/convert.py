"""Messages to envelopes and back.

An envelope is a small protobuf that describes tensors; their bytes travel
behind it as one payload, because protobuf is 15 to 50 times slower with
repeated floats than with bytes.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_split.compression.codecs import Codec
from keras_split.compression.codecs import WrongSizeError
from keras_split.compression.formats import CODE_DTYPES
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import CodecError
from keras_split.errors import ProtocolError
from keras_split.protocol import cohort_messages
from keras_split.protocol import messages
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.known_rows import KnownRows
from keras_split.protocol.messages import Message
from keras_split.protocol.moment import Moment
from keras_split.protocol.wire import split_pb2 as pb

_FIELDS: dict[type[Message], str] = {
    messages.Hello: "hello",
    messages.Welcome: "welcome",
    messages.Forward: "forward",
    messages.Features: "features",
    messages.Backward: "backward",
    messages.SmashedGrad: "smashed_grad",
    messages.Committed: "committed",
    messages.Infer: "infer",
    messages.LabeledStep: "labeled_step",
    messages.LabeledResult: "labeled_result",
    messages.Snapshot: "snapshot",
    messages.SnapshotTaken: "snapshot_taken",
    messages.Restore: "restore",
    messages.Release: "release",
    messages.Goodbye: "goodbye",
    messages.Done: "done",
    messages.Refusal: "refusal",
    messages.Checkpoint: "checkpoint",
    cohort_messages.Later: "later",
    cohort_messages.Enroll: "enroll",
    cohort_messages.Enrolled: "enrolled",
    cohort_messages.PutHalf: "put_half",
    cohort_messages.BeginRound: "begin_round",
    cohort_messages.Leave: "leave",
    cohort_messages.RoundBegun: "round_begun",
    cohort_messages.AskShare: "ask_share",
    cohort_messages.Share: "share",
    cohort_messages.Contribution: "contribution",
    cohort_messages.Gathered: "gathered",
}
_CLASSES = {name: kind for kind, name in _FIELDS.items()}
_TENSORS = ("predictions", "tensors", "labels", "sample_weights")
# Labels, sample weights and predictions have two more than codes; vectors of
# a cohort that are masked are the last two.
_DTYPES = {*CODE_DTYPES, "float64", "bool", "uint32", "uint64"}
# Fields that are messages of their own, and whether they may be missing.
_NESTED: dict[str, tuple[type[Any], type[Any], bool]] = {
    "microbatch": (messages.Microbatch, pb.Microbatch, True),
    "merged": (MergedStep, pb.MergedStep, True),
    "rows": (KnownRows, pb.KnownRows, True),
    "cohort": (CohortInfo, pb.CohortInfo, True),
    "terms": (AveragingTerms, pb.AveragingTerms, False),
    "moment": (Moment, pb.Moment, False),
    "data": (DataDigest, pb.DataDigest, False),
}
_MAPS = ("blobs", "keys")
_MAX_RANK = 16  # labels may have a few axes; a long list is an attack
_RUN = re.compile(r"[0-9a-f]{32}")
_Payload = list[Any]


def to_wire(message: Message, codec: Codec) -> tuple[pb.Envelope, _Payload]:
    """The envelope of a message, and the pieces of its payload in order."""
    envelope = pb.Envelope()
    target = getattr(envelope, _FIELDS[type(message)])
    target.SetInParent()
    payload: _Payload = []
    for name, value in vars(message).items():
        if name in _TENSORS:
            getattr(target, name).extend(
                _describe(tensor, codec, payload) for tensor in value
            )
        elif name == "rate_said":
            if not value and not target.learning_rate:
                target.ClearField("learning_rate")
        elif name == "contract":
            target.contract.CopyFrom(_contract_to_wire(value))
        elif name in _NESTED:
            if value:
                made = _NESTED[name][1](**vars(value))
                getattr(target, name).CopyFrom(made)
        elif name in _MAPS:
            getattr(target, name).update(value)
        elif name == "members":
            target.members.extend(value)
        else:
            setattr(target, name, value)
    envelope.payload_bytes = sum(_nbytes(piece) for piece in payload)
    return envelope, payload


def from_wire(
    envelope: pb.Envelope, payload: Any, codec: Codec, limit: int
) -> Message:
    """The message of an envelope.

    Args:
        envelope: Its description.
        payload: All bytes behind it.
        codec: Decodes the codes.
        limit: Bytes that the decoded tensors may take together.

    Raises:
        ProtocolError: If description and payload do not agree. Nothing has
            been allocated for tensors that do not.
    """
    field = envelope.WhichOneof("message")
    if field is None:
        raise ProtocolError("Expected a message. Received: an empty envelope.")
    source = getattr(envelope, field)
    kind = _CLASSES[field]
    reader = _Reader(payload, codec, limit)
    values: dict[str, Any] = {}
    # Tensors lie in the payload in the order of the fields of the message.
    for name in kind.__dataclass_fields__:
        if name == "rate_said":
            zero = source.HasField("learning_rate") and not source.learning_rate
            values[name] = True if zero else None
            continue
        value = getattr(source, name)
        if name in _TENSORS:
            values[name] = [reader.tensor(item) for item in value]
        elif name == "contract":
            if not source.HasField(name):
                raise ProtocolError(
                    "Expected a Hello with a contract. Received: one without. "
                    "client.json has a whole one, hello.",
                    "protocol",
                )
            values[name] = _contract_from_wire(value)
        elif name == "moment":
            values[name] = moment_from_wire(value)
        elif name in _NESTED:
            values[name] = _nested(source, name)
        elif name in _MAPS:
            values[name] = dict(value)
        elif name == "members":
            values[name] = tuple(value)
        else:
            values[name] = value
    reader.finish()
    return kind(**values)


def moment_from_wire(value: pb.Moment) -> Moment:
    """A moment; an empty one if nothing was said.

    Raises:
        ProtocolError: If its run is no name of one.
    """
    if value.run and not _RUN.fullmatch(value.run):
        raise ProtocolError(
            "Expected a Moment whose run is 32 hexadecimal digits. Received: "
            f"{value.run[:40]!r}. Send back the one that the server said.",
            "protocol",
        )
    return Moment(value.run, value.steps) if value.run else Moment()


def _nested(source: Any, name: str) -> Any:
    """A field that is a message of its own; None if it is not there."""
    kind, _, optional = _NESTED[name]
    if optional and not source.HasField(name):
        return None
    value = getattr(source, name)
    plain = {key: getattr(value, key) for key in kind.__dataclass_fields__}
    if "members" in plain:
        plain["members"] = tuple(plain["members"])
    return kind(**plain)


class _Reader:
    """Reads tensors off a payload, one behind the other."""

    def __init__(self, payload: Any, codec: Codec, limit: int) -> None:
        self._payload = memoryview(payload)
        self._codec = codec
        self._left = limit
        self._offset = 0

    def tensor(self, item: pb.Tensor) -> CutTensor:
        dtype = _dtype(item)
        shape = tuple(item.codes_shape)
        if len(shape) > _MAX_RANK or max(shape, default=0) >= 1 << 48:
            raise ProtocolError(
                f"Expected codes of shape (batch, codes) in {item.name!r}. "
                f"Received: {len(shape)} axes, the longest "
                f"{max(shape)}. Send codes as they are packed.",
                "shape",
            )
        nbytes = math.prod(shape) * dtype.itemsize
        scale_bytes = 8 * item.scale_rows
        self._left -= nbytes + scale_bytes
        if self._left < 0:
            raise ProtocolError(
                f"Expected a smaller message. Received: {item.name!r}, whose "
                f"{nbytes + scale_bytes:,} bytes are over the limit. Use a "
                "smaller batch, or raise the server's --max-batch.",
                "size",
            )
        encoded = self._take(item.codes_bytes, "codes", item.name)
        try:
            decoded = self._codec.decode(encoded, nbytes)
        except CodecError as error:
            reason = "shape" if isinstance(error, WrongSizeError) else "codec"
            raise ProtocolError(
                f"In tensor {item.name!r} of dtype {item.dtype}, codes_shape "
                f"{shape} and codes_bytes {item.codes_bytes}: {error}",
                reason,
            ) from error
        codes = _array(decoded, dtype).reshape(shape)
        scales = None
        if item.scale_rows:
            raw = self._take(scale_bytes, "scales", item.name)
            scales = _array(raw, np.dtype("<f4")).reshape(-1, 2)
        return CutTensor(item.name, tuple(item.shape), codes, scales)

    def finish(self) -> None:
        rest = len(self._payload) - self._offset
        if rest:
            raise ProtocolError(
                f"Expected a payload of {self._offset:,} bytes: codes_bytes of "
                "its tensors, and 8 for each of their scale_rows. Received: "
                f"{rest:,} bytes more.",
                "truncated",
            )

    def _take(self, count: int, field: str, name: str) -> memoryview:
        piece = self._payload[self._offset : self._offset + count]
        if len(piece) != count:
            raise ProtocolError(
                f"Expected {count:,} bytes of {field} in tensor {name!r}. "
                f"Received: {len(piece):,}; the payload is truncated. Send it "
                "again.",
                "truncated",
            )
        self._offset += count
        return piece


def _dtype(item: pb.Tensor) -> np.dtype[Any]:
    """A dtype that tensors of a message may have, little-endian."""
    if item.dtype not in _DTYPES:
        raise ProtocolError(
            f"Expected codes of a known dtype ({', '.join(sorted(_DTYPES))}) "
            f"in tensor {item.name!r}. Received: {item.dtype!r}.",
            "shape",
        )
    return np.dtype(item.dtype).newbyteorder("<")


def _array(data: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Numbers that lie anywhere; NumPy is slow with those between words."""
    array = np.frombuffer(data, dtype)
    return array if array.flags.aligned else array.copy()


def _describe(tensor: CutTensor, codec: Codec, payload: _Payload) -> pb.Tensor:
    codes = np.ascontiguousarray(tensor.codes)
    encoded = codec.encode(codes.reshape(-1).view(np.uint8).data)
    payload.append(encoded)
    rows = 0
    if tensor.scales is not None:
        scales = np.ascontiguousarray(tensor.scales, np.float32)
        payload.append(scales.reshape(-1).view(np.uint8).data)
        rows = scales.shape[0]
    return pb.Tensor(
        name=tensor.name,
        shape=tensor.shape,
        dtype=codes.dtype.name,
        codes_shape=codes.shape,
        codes_bytes=_nbytes(encoded),
        scale_rows=rows,
    )


def _nbytes(piece: Any) -> int:
    return memoryview(piece).nbytes


def _contract_to_wire(contract: Contract) -> pb.Contract:
    def specs(values: Iterable[TensorSpec]) -> list[pb.TensorSpec]:
        return [pb.TensorSpec(name=v.name, shape=v.shape) for v in values]

    def rule(value: Rule) -> pb.Rule:
        return pb.Rule(
            dtype=value.dtype,
            granularity=value.granularity,
            rounding=value.rounding,
            block=value.block if value.block > 1 else 0,
            known=value.known,
        )

    return pb.Contract(
        fingerprint=contract.fingerprint,
        cut=contract.cut,
        smashed=specs(contract.smashed),
        features=specs(contract.features),
        activations=rule(contract.quantization.activations),
        gradients=rule(contract.quantization.gradients),
        codec=contract.codec_name,
        labels_on_server=contract.labels_on_server,
        shared=[
            pb.SharedInput(
                name=s.name, shape=s.shape, dtype=s.dtype, packing=s.packing
            )
            for s in contract.shared
        ],
    )


def _contract_from_wire(contract: pb.Contract) -> Contract:
    def specs(values: Any) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(v.name, tuple(v.shape)) for v in values)

    quantization = _quantization_from_wire(contract)
    return Contract(
        fingerprint=contract.fingerprint,
        cut=tuple(contract.cut),
        smashed=specs(contract.smashed),
        features=specs(contract.features),
        quantization=quantization,
        codec=contract.codec,
        labels_on_server=contract.labels_on_server,
        shared=tuple(
            SharedSpec(s.name, tuple(s.shape), s.dtype, s.packing)
            for s in contract.shared
        ),
    )


def _quantization_from_wire(contract: pb.Contract) -> Quantization:
    """The two rules of a contract.

    Raises:
        ProtocolError: With reason `"quantization"`; it names the field.
    """
    rules = []
    for field in ("activations", "gradients"):
        value = getattr(contract, field)
        names = ("dtype", "granularity", "rounding")
        empty = [name for name in names if not getattr(value, name)]
        if empty:
            raise ProtocolError(
                f"Expected a whole Rule in contract.{field}: {', '.join(names)}"
                f". Received: one without {', '.join(empty)}. client.json has "
                "whole ones.",
                "quantization",
            )
        try:
            rules.append(Rule(value.dtype, value.granularity, value.rounding))
        except ValueError as error:
            raise ProtocolError(
                f"In contract.{field}: {error}", "quantization"
            ) from error
    try:
        return Quantization(*rules, block=contract.activations.block or 1)
    except ValueError as error:
        raise ProtocolError(
            f"In contract.activations.block: {error}", "quantization"
        ) from error
