"""One of each message, and the bytes that it was on the wire.

`messages.json` beside this file holds, for each sample, the frames that a
stream carries, as hexadecimal text. A difference means that clients of other
versions no longer understand us. After a change that is meant, and that old
clients survive, write the file anew and read its diff:

    python -m tests.golden.messages
"""

import json
from pathlib import Path

import numpy as np

from keras_split.compression import codecs
from keras_split.compression.rules import Quantization
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.cohort_messages import Enrolled
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import Later
from keras_split.protocol.cohort_messages import Leave
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.protocol.cohort_messages import RoundBegun
from keras_split.protocol.cohort_messages import Share
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.known_rows import KnownRows
from keras_split.protocol.known_rows import digest
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Checkpoint
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import LabeledResult
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Release
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import SnapshotTaken
from keras_split.protocol.messages import Welcome
from keras_split.protocol.moment import Moment
from keras_split.protocol.wire import frames
from keras_split.protocol.wire.convert import from_wire
from keras_split.protocol.wire.convert import to_wire

STORED = Path(__file__).parent / "messages.json"

_BATCH = 2
_CODES = np.arange(6, dtype=np.uint8).reshape(_BATCH, 3) * 51
_SCALES = np.array([[0.5, 128], [0.25, 0]], np.float32)
_FLOATS = np.array([[1, -2, 0.5], [0, 4096, 1e-3]], np.float32)

INT8 = CutTensor("base/conv:1", (_BATCH, 3, 1), _CODES, _SCALES)
INT4 = CutTensor("a", (_BATCH, 5), _CODES, _SCALES)
FLOAT32 = CutTensor("b", (_BATCH, 3), _FLOATS)
FLOAT16 = CutTensor("c", (_BATCH, 3), _FLOATS.astype(np.float16))
BFLOAT16 = CutTensor("d", (_BATCH, 3), _CODES.astype(np.uint16) * 257)
LABELS = CutTensor("labels_0", (_BATCH,), np.array([7, -1], np.int32))
VECTOR = CutTensor("half", (1, 3), _FLOATS[:1])
MASKED = CutTensor("half", (1, 3), np.array([[1, 2, 1 << 63]], np.uint64))
WEIGHTS = CutTensor("sample_weights_0", (_BATCH,), _FLOATS[0, :_BATCH])

CONTRACT = Contract(
    fingerprint="0123456789abcdef",
    cut=("base/conv", "b+c"),
    smashed=(TensorSpec("base/conv:1", (3, 1)),),
    features=(TensorSpec("b", (3,)), TensorSpec("c", (3,))),
    quantization=Quantization("int8", "float16"),
    codec="zstd",
    labels_on_server=True,
)
_OPEN = {"session": "feedc0ffee123456"}
_STEP = _OPEN | {"step": 300}
_MOMENT = Moment("0123456789abcdef" * 2, 300)
_KNOWN = KnownRows(3, digest(b"a") + digest(b"b") + digest(b"a"))

SAMPLES = {
    "Hello": Hello(CONTRACT, '{"class_name": "SGD"}', '{"loss": "mse"}'),
    "Hello, old": Hello(CONTRACT, protocol=0),
    "Hello, again": Hello(CONTRACT, **_OPEN, next_step=300),
    "Hello, trained": Hello(CONTRACT, moment=_MOMENT),
    "Hello, data": Hello(CONTRACT, data=DataDigest("ab" * 32, "cd" * 32)),
    "Welcome": Welcome("feedc0ffee123456", 7, 1 << 20, "Labels travel."),
    "Welcome, early": Welcome("feedc0ffee123456", replies_early=True),
    "Welcome, again": Welcome(
        **_OPEN, next_step=7, durable_steps=5, keeps_checkpoints=True
    ),
    "Welcome, trained": Welcome(**_OPEN, moment=_MOMENT),
    "Hello, follows": Hello(CONTRACT, follows=True),
    "Welcome, elsewhere": Welcome("", address="10.0.0.2:50051"),
    "Forward, int8": Forward(**_STEP, tensors=[INT8]),
    "Forward, int4 and float32": Forward(**_STEP, tensors=[INT4, FLOAT32]),
    "Forward, a microbatch": Forward(
        **_STEP, tensors=[INT8], microbatch=Microbatch(0, 4, 8, 1)
    ),
    "Forward, early": Forward(**_STEP, tensors=[INT8], early=True),
    "Forward, frozen head": Forward(
        **_STEP, tensors=[INT8], no_smashed_grad=True
    ),
    "Welcome, frozen body": Welcome("feedc0ffee123456", frozen_body=True),
    "Backward, frozen halves": Backward(**_STEP, tensors=[], learning_rate=0.1),
    "SmashedGrad, frozen head": SmashedGrad(300, []),
    "LabeledStep, frozen head": LabeledStep(
        **_STEP,
        tensors=[INT8],
        labels=[LABELS],
        sample_weights=[],
        learning_rate=0.1,
        no_smashed_grad=True,
    ),
    "Features, float32": Features(300, [FLOAT32], penalty=0.125),
    "Features, int8": Features(0, [INT8]),
    "Features, to an Infer": Features(-1, [FLOAT16]),
    "Backward, int8": Backward(**_STEP, tensors=[INT8], learning_rate=0.1),
    "Backward, float32": Backward(
        **_STEP, tensors=[FLOAT32], learning_rate=0.0
    ),
    "Backward, a microbatch": Backward(
        **_STEP,
        tensors=[INT8],
        learning_rate=0.1,
        microbatch=Microbatch(3, 4, 8, 300),
    ),
    "Backward, early": Backward(
        **_STEP, tensors=[INT8], learning_rate=0.1, early=True
    ),
    "SmashedGrad, int8": SmashedGrad(300, [INT8]),
    "SmashedGrad, halves": SmashedGrad(300, [FLOAT16, BFLOAT16]),
    "SmashedGrad, durable": SmashedGrad(300, [INT8], durable_steps=200),
    "SmashedGrad, taken": SmashedGrad(300, [INT8], moment=_MOMENT),
    "Committed": Committed(300),
    "Committed, durable": Committed(300, durable_steps=200),
    "Committed, taken": Committed(300, moment=_MOMENT),
    "Infer": Infer(**_OPEN, tensors=[INT8]),
    "LabeledStep": LabeledStep(
        **_STEP,
        tensors=[INT8],
        labels=[LABELS],
        sample_weights=[WEIGHTS],
        learning_rate=0.1,
    ),
    "LabeledStep, no sample weights": LabeledStep(
        **_STEP,
        tensors=[FLOAT32],
        labels=[LABELS],
        sample_weights=[],
        learning_rate=0.1,
    ),
    "LabeledResult": LabeledResult(300, 1.5, [FLOAT32], [INT8]),
    "LabeledResult, durable": LabeledResult(
        300, 1.5, [FLOAT32], [INT8], durable_steps=200
    ),
    "LabeledResult, taken": LabeledResult(
        300, 1.5, [FLOAT32], [INT8], moment=_MOMENT
    ),
    "Snapshot": Snapshot(**_OPEN),
    "SnapshotTaken": SnapshotTaken("0011223344556677"),
    "Restore": Restore(**_OPEN, tag="0011223344556677", optimizer=True),
    "Release": Release(**_OPEN, tag="0011223344556677"),
    "Checkpoint": Checkpoint(**_OPEN),
    "Goodbye": Goodbye(**_OPEN),
    "Done": Done(),
    "Refusal": Refusal("shape", "Expected … Received …"),
    "Welcome, cohort": Welcome(
        "s",
        cohort=CohortInfo(
            "0123456789abcdef" * 2, "merged", 8, 32, secure=True, bits=64
        ),
    ),
    "Forward, merged": Forward(
        **_STEP, tensors=[FLOAT32], merged=MergedStep(17, 2, (0, 3, 4))
    ),
    "Forward, merged, with a ticket": Forward(
        **_STEP,
        tensors=[FLOAT32],
        merged=MergedStep(17, 2, (0, 3, 4), b"a ticket"),
    ),
    "Later": Later(),
    "Enroll": Enroll(
        **_OPEN,
        terms=AveragingTerms(4, "weights", "local", "{}"),
        size=3,
        layout="ab" * 32,
        examples=600,
        capacity=8,
        version=-1,
    ),
    "Enrolled": Enrolled(3, 7, tensors=[VECTOR]),
    "Enrolled, first": Enrolled(0, 0, give_half=True),
    "PutHalf": PutHalf(**_OPEN, version=7, tensors=[VECTOR]),
    "BeginRound": BeginRound(**_OPEN, version=7),
    "Leave": Leave(**_OPEN),
    "RoundBegun": RoundBegun(5, 7, tensors=[VECTOR]),
    "AskShare": AskShare(**_OPEN, left=500, epoch=1, version=7),
    "AskShare, after others": AskShare(
        **_OPEN, left=498, epoch=1, version=7, seen=18
    ),
    "Share": Share(17, 2, (0, 3, 4), 7),
    "Share, with a ticket": Share(17, 2, (0, 3, 4), 7, ticket=b"a ticket"),
    "Share, the epoch is over": Share(-1, 0, version=7, tensors=[VECTOR]),
    "Contribution": Contribution(
        **_OPEN, round=5, stage="value", weight=600.0, tensors=[MASKED]
    ),
    "Contribution, shares": Contribution(
        **_OPEN, round=5, stage="shares", blobs={4: b"sealed"}
    ),
    "Gathered": Gathered(
        5, "value", (0, 3, 4), 8, weight=1800.0, tensors=[VECTOR]
    ),
    "Gathered, shares": Gathered(5, "shares", (0, 3, 4), blobs={4: b"sealed"}),
    "Gathered, with a moment": Gathered(
        5, "value", (0, 3), 8, 1800.0, [VECTOR], moment=Moment("ab" * 16, 40)
    ),
    "Hello, reuse": Hello(CONTRACT, reuse=True),
    "Welcome, reuse": Welcome(
        "feedc0ffee123456", reuse_bytes=256 << 20, reuse_rows=3
    ),
    "Forward, known rows": Forward(**_STEP, tensors=[], rows=_KNOWN),
    "Infer, known rows": Infer(**_OPEN, tensors=[INT8], rows=_KNOWN),
    "LabeledStep, known rows": LabeledStep(
        **_STEP,
        tensors=[INT8],
        labels=[LABELS],
        sample_weights=[],
        learning_rate=0.1,
        rows=_KNOWN,
    ),
}


def encode(message, codec="raw"):
    """The frames of a message, as hexadecimal text."""
    envelope, payload = to_wire(message, codecs.get(codec))
    return [frame.hex() for frame in frames.split(envelope, payload)]


def decode(stored, codec="raw"):
    """The message that `encode` made text of."""
    stream = [bytes.fromhex(text) for text in stored]
    ((envelope, payload),) = frames.join(stream, 1 << 20)
    return from_wire(envelope, payload, codecs.get(codec), 1 << 20)


if __name__ == "__main__":
    everything = {name: encode(sample) for name, sample in SAMPLES.items()}
    STORED.write_text(json.dumps(everything, indent=1) + "\n")
