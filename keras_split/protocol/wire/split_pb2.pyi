from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Frame(_message.Message):
    __slots__ = ("envelope", "chunk")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    envelope: Envelope
    chunk: bytes
    def __init__(self, envelope: _Optional[_Union[Envelope, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("hello", "welcome", "forward", "features", "backward", "smashed_grad", "infer", "labeled_step", "labeled_result", "snapshot", "snapshot_taken", "restore", "release", "goodbye", "done", "refusal", "checkpoint", "committed", "payload_bytes", "payload")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    BACKWARD_FIELD_NUMBER: _ClassVar[int]
    SMASHED_GRAD_FIELD_NUMBER: _ClassVar[int]
    INFER_FIELD_NUMBER: _ClassVar[int]
    LABELED_STEP_FIELD_NUMBER: _ClassVar[int]
    LABELED_RESULT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_TAKEN_FIELD_NUMBER: _ClassVar[int]
    RESTORE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    forward: Forward
    features: Features
    backward: Backward
    smashed_grad: SmashedGrad
    infer: Infer
    labeled_step: LabeledStep
    labeled_result: LabeledResult
    snapshot: Snapshot
    snapshot_taken: SnapshotTaken
    restore: Restore
    release: Release
    goodbye: Goodbye
    done: Done
    refusal: Refusal
    checkpoint: Checkpoint
    committed: Committed
    payload_bytes: int
    payload: bytes
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., forward: _Optional[_Union[Forward, _Mapping]] = ..., features: _Optional[_Union[Features, _Mapping]] = ..., backward: _Optional[_Union[Backward, _Mapping]] = ..., smashed_grad: _Optional[_Union[SmashedGrad, _Mapping]] = ..., infer: _Optional[_Union[Infer, _Mapping]] = ..., labeled_step: _Optional[_Union[LabeledStep, _Mapping]] = ..., labeled_result: _Optional[_Union[LabeledResult, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., snapshot_taken: _Optional[_Union[SnapshotTaken, _Mapping]] = ..., restore: _Optional[_Union[Restore, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., committed: _Optional[_Union[Committed, _Mapping]] = ..., payload_bytes: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("name", "shape", "dtype", "codes_shape", "codes_bytes", "scale_rows")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CODES_SHAPE_FIELD_NUMBER: _ClassVar[int]
    CODES_BYTES_FIELD_NUMBER: _ClassVar[int]
    SCALE_ROWS_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    codes_shape: _containers.RepeatedScalarFieldContainer[int]
    codes_bytes: int
    scale_rows: int
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., codes_shape: _Optional[_Iterable[int]] = ..., codes_bytes: _Optional[int] = ..., scale_rows: _Optional[int] = ...) -> None: ...

class TensorSpec(_message.Message):
    __slots__ = ("name", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("dtype", "granularity", "rounding", "block", "known")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    ROUNDING_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    dtype: str
    granularity: str
    rounding: str
    block: int
    known: bool
    def __init__(self, dtype: _Optional[str] = ..., granularity: _Optional[str] = ..., rounding: _Optional[str] = ..., block: _Optional[int] = ..., known: bool = ...) -> None: ...

class Contract(_message.Message):
    __slots__ = ("fingerprint", "cut", "smashed", "features", "activations", "gradients", "codec", "labels_on_server")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    SMASHED_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    LABELS_ON_SERVER_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    cut: _containers.RepeatedScalarFieldContainer[str]
    smashed: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    features: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    activations: Rule
    gradients: Rule
    codec: str
    labels_on_server: bool
    def __init__(self, fingerprint: _Optional[str] = ..., cut: _Optional[_Iterable[str]] = ..., smashed: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., activations: _Optional[_Union[Rule, _Mapping]] = ..., gradients: _Optional[_Union[Rule, _Mapping]] = ..., codec: _Optional[str] = ..., labels_on_server: bool = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "contract", "optimizer", "loss", "session", "next_step", "moment", "data")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    contract: Contract
    optimizer: str
    loss: str
    session: str
    next_step: int
    moment: Moment
    data: DataDigest
    def __init__(self, protocol: _Optional[int] = ..., contract: _Optional[_Union[Contract, _Mapping]] = ..., optimizer: _Optional[str] = ..., loss: _Optional[str] = ..., session: _Optional[str] = ..., next_step: _Optional[int] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ..., data: _Optional[_Union[DataDigest, _Mapping]] = ...) -> None: ...

class DataDigest(_message.Message):
    __slots__ = ("classes", "preprocess")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_FIELD_NUMBER: _ClassVar[int]
    classes: str
    preprocess: str
    def __init__(self, classes: _Optional[str] = ..., preprocess: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("session", "next_step", "max_message_bytes", "notice", "durable_steps", "keeps_checkpoints", "replies_early", "moment", "frozen_body")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_STEPS_FIELD_NUMBER: _ClassVar[int]
    KEEPS_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    REPLIES_EARLY_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    FROZEN_BODY_FIELD_NUMBER: _ClassVar[int]
    session: str
    next_step: int
    max_message_bytes: int
    notice: str
    durable_steps: int
    keeps_checkpoints: bool
    replies_early: bool
    moment: Moment
    frozen_body: bool
    def __init__(self, session: _Optional[str] = ..., next_step: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., notice: _Optional[str] = ..., durable_steps: _Optional[int] = ..., keeps_checkpoints: bool = ..., replies_early: bool = ..., moment: _Optional[_Union[Moment, _Mapping]] = ..., frozen_body: bool = ...) -> None: ...

class Forward(_message.Message):
    __slots__ = ("session", "step", "tensors", "microbatch", "early", "no_smashed_grad")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    MICROBATCH_FIELD_NUMBER: _ClassVar[int]
    EARLY_FIELD_NUMBER: _ClassVar[int]
    NO_SMASHED_GRAD_FIELD_NUMBER: _ClassVar[int]
    session: str
    step: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    microbatch: Microbatch
    early: bool
    no_smashed_grad: bool
    def __init__(self, session: _Optional[str] = ..., step: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., microbatch: _Optional[_Union[Microbatch, _Mapping]] = ..., early: bool = ..., no_smashed_grad: bool = ...) -> None: ...

class Features(_message.Message):
    __slots__ = ("step", "tensors", "penalty")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    PENALTY_FIELD_NUMBER: _ClassVar[int]
    step: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    penalty: float
    def __init__(self, step: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., penalty: _Optional[float] = ...) -> None: ...

class Backward(_message.Message):
    __slots__ = ("session", "step", "tensors", "learning_rate", "microbatch", "early")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    MICROBATCH_FIELD_NUMBER: _ClassVar[int]
    EARLY_FIELD_NUMBER: _ClassVar[int]
    session: str
    step: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    learning_rate: float
    microbatch: Microbatch
    early: bool
    def __init__(self, session: _Optional[str] = ..., step: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., learning_rate: _Optional[float] = ..., microbatch: _Optional[_Union[Microbatch, _Mapping]] = ..., early: bool = ...) -> None: ...

class SmashedGrad(_message.Message):
    __slots__ = ("step", "tensors", "durable_steps", "moment")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    DURABLE_STEPS_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    step: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    durable_steps: int
    moment: Moment
    def __init__(self, step: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., durable_steps: _Optional[int] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class Infer(_message.Message):
    __slots__ = ("session", "tensors")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    session: str
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, session: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class LabeledStep(_message.Message):
    __slots__ = ("session", "step", "tensors", "labels", "sample_weights", "learning_rate", "no_smashed_grad")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    NO_SMASHED_GRAD_FIELD_NUMBER: _ClassVar[int]
    session: str
    step: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    labels: _containers.RepeatedCompositeFieldContainer[Tensor]
    sample_weights: _containers.RepeatedCompositeFieldContainer[Tensor]
    learning_rate: float
    no_smashed_grad: bool
    def __init__(self, session: _Optional[str] = ..., step: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., sample_weights: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., learning_rate: _Optional[float] = ..., no_smashed_grad: bool = ...) -> None: ...

class LabeledResult(_message.Message):
    __slots__ = ("step", "loss", "predictions", "tensors", "durable_steps", "moment")
    STEP_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    DURABLE_STEPS_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    step: int
    loss: float
    predictions: _containers.RepeatedCompositeFieldContainer[Tensor]
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    durable_steps: int
    moment: Moment
    def __init__(self, step: _Optional[int] = ..., loss: _Optional[float] = ..., predictions: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., durable_steps: _Optional[int] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("session", "held")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    session: str
    held: bool
    def __init__(self, session: _Optional[str] = ..., held: bool = ...) -> None: ...

class SnapshotTaken(_message.Message):
    __slots__ = ("tag",)
    TAG_FIELD_NUMBER: _ClassVar[int]
    tag: str
    def __init__(self, tag: _Optional[str] = ...) -> None: ...

class Restore(_message.Message):
    __slots__ = ("session", "tag", "optimizer")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    session: str
    tag: str
    optimizer: bool
    def __init__(self, session: _Optional[str] = ..., tag: _Optional[str] = ..., optimizer: bool = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("session", "tag")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    session: str
    tag: str
    def __init__(self, session: _Optional[str] = ..., tag: _Optional[str] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "text")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    text: str
    def __init__(self, reason: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Microbatch(_message.Message):
    __slots__ = ("index", "count", "batch", "attempt")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    index: int
    count: int
    batch: int
    attempt: int
    def __init__(self, index: _Optional[int] = ..., count: _Optional[int] = ..., batch: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class Committed(_message.Message):
    __slots__ = ("step", "durable_steps", "moment")
    STEP_FIELD_NUMBER: _ClassVar[int]
    DURABLE_STEPS_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    step: int
    durable_steps: int
    moment: Moment
    def __init__(self, step: _Optional[int] = ..., durable_steps: _Optional[int] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class Moment(_message.Message):
    __slots__ = ("run", "steps")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    run: str
    steps: int
    def __init__(self, run: _Optional[str] = ..., steps: _Optional[int] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("fingerprint", "cut", "uptime_s", "steps", "uplink_bytes", "downlink_bytes", "sessions", "refusals", "checkpoint_age_s", "draining", "memory_bytes", "moment", "inference_only")
    class RefusalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    UPLINK_BYTES_FIELD_NUMBER: _ClassVar[int]
    DOWNLINK_BYTES_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_ONLY_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    cut: _containers.RepeatedScalarFieldContainer[str]
    uptime_s: float
    steps: int
    uplink_bytes: int
    downlink_bytes: int
    sessions: _containers.RepeatedCompositeFieldContainer[SessionStatus]
    refusals: _containers.ScalarMap[str, int]
    checkpoint_age_s: float
    draining: bool
    memory_bytes: int
    moment: Moment
    inference_only: bool
    def __init__(self, fingerprint: _Optional[str] = ..., cut: _Optional[_Iterable[str]] = ..., uptime_s: _Optional[float] = ..., steps: _Optional[int] = ..., uplink_bytes: _Optional[int] = ..., downlink_bytes: _Optional[int] = ..., sessions: _Optional[_Iterable[_Union[SessionStatus, _Mapping]]] = ..., refusals: _Optional[_Mapping[str, int]] = ..., checkpoint_age_s: _Optional[float] = ..., draining: bool = ..., memory_bytes: _Optional[int] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ..., inference_only: bool = ...) -> None: ...

class SessionStatus(_message.Message):
    __slots__ = ("label", "client", "peer", "steps", "uplink_bytes", "downlink_bytes", "idle_s", "connected", "moment")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    UPLINK_BYTES_FIELD_NUMBER: _ClassVar[int]
    DOWNLINK_BYTES_FIELD_NUMBER: _ClassVar[int]
    IDLE_S_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    label: str
    client: str
    peer: str
    steps: int
    uplink_bytes: int
    downlink_bytes: int
    idle_s: float
    connected: bool
    moment: Moment
    def __init__(self, label: _Optional[str] = ..., client: _Optional[str] = ..., peer: _Optional[str] = ..., steps: _Optional[int] = ..., uplink_bytes: _Optional[int] = ..., downlink_bytes: _Optional[int] = ..., idle_s: _Optional[float] = ..., connected: bool = ..., moment: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...
