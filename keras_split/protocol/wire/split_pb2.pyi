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
    __slots__ = ("hello", "welcome", "forward", "features", "backward", "smashed_grad", "infer", "labeled_step", "labeled_result", "snapshot", "snapshot_taken", "restore", "release", "goodbye", "done", "refusal", "checkpoint", "committed", "later", "enroll", "enrolled", "put_half", "begin_round", "round_begun", "ask_share", "share", "contribution", "gathered", "leave", "payload_bytes", "payload")
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
    LATER_FIELD_NUMBER: _ClassVar[int]
    ENROLL_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_FIELD_NUMBER: _ClassVar[int]
    PUT_HALF_FIELD_NUMBER: _ClassVar[int]
    BEGIN_ROUND_FIELD_NUMBER: _ClassVar[int]
    ROUND_BEGUN_FIELD_NUMBER: _ClassVar[int]
    ASK_SHARE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    GATHERED_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
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
    later: Later
    enroll: Enroll
    enrolled: Enrolled
    put_half: PutHalf
    begin_round: BeginRound
    round_begun: RoundBegun
    ask_share: AskShare
    share: Share
    contribution: Contribution
    gathered: Gathered
    leave: Leave
    payload_bytes: int
    payload: bytes
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., forward: _Optional[_Union[Forward, _Mapping]] = ..., features: _Optional[_Union[Features, _Mapping]] = ..., backward: _Optional[_Union[Backward, _Mapping]] = ..., smashed_grad: _Optional[_Union[SmashedGrad, _Mapping]] = ..., infer: _Optional[_Union[Infer, _Mapping]] = ..., labeled_step: _Optional[_Union[LabeledStep, _Mapping]] = ..., labeled_result: _Optional[_Union[LabeledResult, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., snapshot_taken: _Optional[_Union[SnapshotTaken, _Mapping]] = ..., restore: _Optional[_Union[Restore, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., committed: _Optional[_Union[Committed, _Mapping]] = ..., later: _Optional[_Union[Later, _Mapping]] = ..., enroll: _Optional[_Union[Enroll, _Mapping]] = ..., enrolled: _Optional[_Union[Enrolled, _Mapping]] = ..., put_half: _Optional[_Union[PutHalf, _Mapping]] = ..., begin_round: _Optional[_Union[BeginRound, _Mapping]] = ..., round_begun: _Optional[_Union[RoundBegun, _Mapping]] = ..., ask_share: _Optional[_Union[AskShare, _Mapping]] = ..., share: _Optional[_Union[Share, _Mapping]] = ..., contribution: _Optional[_Union[Contribution, _Mapping]] = ..., gathered: _Optional[_Union[Gathered, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ..., payload_bytes: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

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
    __slots__ = ("fingerprint", "cut", "smashed", "features", "activations", "gradients", "codec", "labels_on_server", "shared")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    SMASHED_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    LABELS_ON_SERVER_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    cut: _containers.RepeatedScalarFieldContainer[str]
    smashed: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    features: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    activations: Rule
    gradients: Rule
    codec: str
    labels_on_server: bool
    shared: _containers.RepeatedCompositeFieldContainer[SharedInput]
    def __init__(self, fingerprint: _Optional[str] = ..., cut: _Optional[_Iterable[str]] = ..., smashed: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., activations: _Optional[_Union[Rule, _Mapping]] = ..., gradients: _Optional[_Union[Rule, _Mapping]] = ..., codec: _Optional[str] = ..., labels_on_server: bool = ..., shared: _Optional[_Iterable[_Union[SharedInput, _Mapping]]] = ...) -> None: ...

class SharedInput(_message.Message):
    __slots__ = ("name", "shape", "dtype", "packing")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    PACKING_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    packing: str
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., packing: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "contract", "optimizer", "loss", "session", "next_step", "moment", "follows", "reuse", "data")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    REUSE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    contract: Contract
    optimizer: str
    loss: str
    session: str
    next_step: int
    moment: Moment
    follows: bool
    reuse: bool
    data: DataDigest
    def __init__(self, protocol: _Optional[int] = ..., contract: _Optional[_Union[Contract, _Mapping]] = ..., optimizer: _Optional[str] = ..., loss: _Optional[str] = ..., session: _Optional[str] = ..., next_step: _Optional[int] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ..., follows: bool = ..., reuse: bool = ..., data: _Optional[_Union[DataDigest, _Mapping]] = ...) -> None: ...

class DataDigest(_message.Message):
    __slots__ = ("classes", "preprocess")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_FIELD_NUMBER: _ClassVar[int]
    classes: str
    preprocess: str
    def __init__(self, classes: _Optional[str] = ..., preprocess: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("session", "next_step", "max_message_bytes", "notice", "durable_steps", "keeps_checkpoints", "replies_early", "moment", "frozen_body", "cohort", "address", "reuse_bytes", "reuse_rows")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_STEPS_FIELD_NUMBER: _ClassVar[int]
    KEEPS_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    REPLIES_EARLY_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    FROZEN_BODY_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REUSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REUSE_ROWS_FIELD_NUMBER: _ClassVar[int]
    session: str
    next_step: int
    max_message_bytes: int
    notice: str
    durable_steps: int
    keeps_checkpoints: bool
    replies_early: bool
    moment: Moment
    frozen_body: bool
    cohort: CohortInfo
    address: str
    reuse_bytes: int
    reuse_rows: int
    def __init__(self, session: _Optional[str] = ..., next_step: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., notice: _Optional[str] = ..., durable_steps: _Optional[int] = ..., keeps_checkpoints: bool = ..., replies_early: bool = ..., moment: _Optional[_Union[Moment, _Mapping]] = ..., frozen_body: bool = ..., cohort: _Optional[_Union[CohortInfo, _Mapping]] = ..., address: _Optional[str] = ..., reuse_bytes: _Optional[int] = ..., reuse_rows: _Optional[int] = ...) -> None: ...

class Forward(_message.Message):
    __slots__ = ("session", "step", "tensors", "microbatch", "early", "no_smashed_grad", "merged", "rows")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    MICROBATCH_FIELD_NUMBER: _ClassVar[int]
    EARLY_FIELD_NUMBER: _ClassVar[int]
    NO_SMASHED_GRAD_FIELD_NUMBER: _ClassVar[int]
    MERGED_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    session: str
    step: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    microbatch: Microbatch
    early: bool
    no_smashed_grad: bool
    merged: MergedStep
    rows: KnownRows
    def __init__(self, session: _Optional[str] = ..., step: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., microbatch: _Optional[_Union[Microbatch, _Mapping]] = ..., early: bool = ..., no_smashed_grad: bool = ..., merged: _Optional[_Union[MergedStep, _Mapping]] = ..., rows: _Optional[_Union[KnownRows, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("session", "tensors", "rows")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    session: str
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    rows: KnownRows
    def __init__(self, session: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., rows: _Optional[_Union[KnownRows, _Mapping]] = ...) -> None: ...

class LabeledStep(_message.Message):
    __slots__ = ("session", "step", "tensors", "labels", "sample_weights", "learning_rate", "no_smashed_grad", "rows")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    NO_SMASHED_GRAD_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    session: str
    step: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    labels: _containers.RepeatedCompositeFieldContainer[Tensor]
    sample_weights: _containers.RepeatedCompositeFieldContainer[Tensor]
    learning_rate: float
    no_smashed_grad: bool
    rows: KnownRows
    def __init__(self, session: _Optional[str] = ..., step: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., sample_weights: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., learning_rate: _Optional[float] = ..., no_smashed_grad: bool = ..., rows: _Optional[_Union[KnownRows, _Mapping]] = ...) -> None: ...

class KnownRows(_message.Message):
    __slots__ = ("batch", "digests")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    batch: int
    digests: bytes
    def __init__(self, batch: _Optional[int] = ..., digests: _Optional[bytes] = ...) -> None: ...

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
    __slots__ = ("fingerprint", "cut", "uptime_s", "steps", "uplink_bytes", "downlink_bytes", "sessions", "refusals", "checkpoint_age_s", "draining", "memory_bytes", "moment", "inference_only", "cohort", "queue_times", "compute_times", "checkpoint_times", "sessions_opened", "sessions_resumed", "sessions_closed", "replicas", "averages")
    class RefusalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class SessionsClosedEntry(_message.Message):
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
    COHORT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIMES_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_TIMES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_TIMES_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_OPENED_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_RESUMED_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_CLOSED_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    AVERAGES_FIELD_NUMBER: _ClassVar[int]
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
    cohort: CohortStatus
    queue_times: Times
    compute_times: Times
    checkpoint_times: Times
    sessions_opened: int
    sessions_resumed: int
    sessions_closed: _containers.ScalarMap[str, int]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaStatus]
    averages: int
    def __init__(self, fingerprint: _Optional[str] = ..., cut: _Optional[_Iterable[str]] = ..., uptime_s: _Optional[float] = ..., steps: _Optional[int] = ..., uplink_bytes: _Optional[int] = ..., downlink_bytes: _Optional[int] = ..., sessions: _Optional[_Iterable[_Union[SessionStatus, _Mapping]]] = ..., refusals: _Optional[_Mapping[str, int]] = ..., checkpoint_age_s: _Optional[float] = ..., draining: bool = ..., memory_bytes: _Optional[int] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ..., inference_only: bool = ..., cohort: _Optional[_Union[CohortStatus, _Mapping]] = ..., queue_times: _Optional[_Union[Times, _Mapping]] = ..., compute_times: _Optional[_Union[Times, _Mapping]] = ..., checkpoint_times: _Optional[_Union[Times, _Mapping]] = ..., sessions_opened: _Optional[int] = ..., sessions_resumed: _Optional[int] = ..., sessions_closed: _Optional[_Mapping[str, int]] = ..., replicas: _Optional[_Iterable[_Union[ReplicaStatus, _Mapping]]] = ..., averages: _Optional[int] = ...) -> None: ...

class ReplicaStatus(_message.Message):
    __slots__ = ("name", "address", "up", "silent_s", "restarts", "status")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    SILENT_S_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    up: bool
    silent_s: float
    restarts: int
    status: StatusReply
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., up: bool = ..., silent_s: _Optional[float] = ..., restarts: _Optional[int] = ..., status: _Optional[_Union[StatusReply, _Mapping]] = ...) -> None: ...

class Times(_message.Message):
    __slots__ = ("bounds_s", "counts", "total_s")
    BOUNDS_S_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_S_FIELD_NUMBER: _ClassVar[int]
    bounds_s: _containers.RepeatedScalarFieldContainer[float]
    counts: _containers.RepeatedScalarFieldContainer[int]
    total_s: float
    def __init__(self, bounds_s: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ..., total_s: _Optional[float] = ...) -> None: ...

class CohortStatus(_message.Message):
    __slots__ = ("name", "mode", "phones", "secure", "members", "present", "number", "steps", "rounds", "last_s", "last_dropped", "left_out", "step_times", "round_times", "recent")
    class PresentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: str
        def __init__(self, key: _Optional[int] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PHONES_FIELD_NUMBER: _ClassVar[int]
    SECURE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    LAST_S_FIELD_NUMBER: _ClassVar[int]
    LAST_DROPPED_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    STEP_TIMES_FIELD_NUMBER: _ClassVar[int]
    ROUND_TIMES_FIELD_NUMBER: _ClassVar[int]
    RECENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    mode: str
    phones: int
    secure: bool
    members: int
    present: _containers.ScalarMap[int, str]
    number: int
    steps: int
    rounds: int
    last_s: float
    last_dropped: _containers.RepeatedScalarFieldContainer[int]
    left_out: int
    step_times: Times
    round_times: Times
    recent: _containers.RepeatedCompositeFieldContainer[RoundStatus]
    def __init__(self, name: _Optional[str] = ..., mode: _Optional[str] = ..., phones: _Optional[int] = ..., secure: bool = ..., members: _Optional[int] = ..., present: _Optional[_Mapping[int, str]] = ..., number: _Optional[int] = ..., steps: _Optional[int] = ..., rounds: _Optional[int] = ..., last_s: _Optional[float] = ..., last_dropped: _Optional[_Iterable[int]] = ..., left_out: _Optional[int] = ..., step_times: _Optional[_Union[Times, _Mapping]] = ..., round_times: _Optional[_Union[Times, _Mapping]] = ..., recent: _Optional[_Iterable[_Union[RoundStatus, _Mapping]]] = ...) -> None: ...

class RoundStatus(_message.Message):
    __slots__ = ("number", "merged", "seconds", "members", "dropped")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MERGED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    number: int
    merged: bool
    seconds: float
    members: _containers.RepeatedScalarFieldContainer[int]
    dropped: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, number: _Optional[int] = ..., merged: bool = ..., seconds: _Optional[float] = ..., members: _Optional[_Iterable[int]] = ..., dropped: _Optional[_Iterable[int]] = ...) -> None: ...

class SessionStatus(_message.Message):
    __slots__ = ("label", "client", "peer", "steps", "uplink_bytes", "downlink_bytes", "idle_s", "connected", "moment", "replica")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    UPLINK_BYTES_FIELD_NUMBER: _ClassVar[int]
    DOWNLINK_BYTES_FIELD_NUMBER: _ClassVar[int]
    IDLE_S_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    label: str
    client: str
    peer: str
    steps: int
    uplink_bytes: int
    downlink_bytes: int
    idle_s: float
    connected: bool
    moment: Moment
    replica: str
    def __init__(self, label: _Optional[str] = ..., client: _Optional[str] = ..., peer: _Optional[str] = ..., steps: _Optional[int] = ..., uplink_bytes: _Optional[int] = ..., downlink_bytes: _Optional[int] = ..., idle_s: _Optional[float] = ..., connected: bool = ..., moment: _Optional[_Union[Moment, _Mapping]] = ..., replica: _Optional[str] = ...) -> None: ...

class CohortInfo(_message.Message):
    __slots__ = ("name", "mode", "phones", "batch", "secure", "bits")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PHONES_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SECURE_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    name: str
    mode: str
    phones: int
    batch: int
    secure: bool
    bits: int
    def __init__(self, name: _Optional[str] = ..., mode: _Optional[str] = ..., phones: _Optional[int] = ..., batch: _Optional[int] = ..., secure: bool = ..., bits: _Optional[int] = ...) -> None: ...

class AveragingTerms(_message.Message):
    __slots__ = ("every", "what", "batchnorm", "optimizer")
    EVERY_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    BATCHNORM_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    every: int
    what: str
    batchnorm: str
    optimizer: str
    def __init__(self, every: _Optional[int] = ..., what: _Optional[str] = ..., batchnorm: _Optional[str] = ..., optimizer: _Optional[str] = ...) -> None: ...

class MergedStep(_message.Message):
    __slots__ = ("step", "count", "members", "ticket")
    STEP_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    step: int
    count: int
    members: _containers.RepeatedScalarFieldContainer[int]
    ticket: bytes
    def __init__(self, step: _Optional[int] = ..., count: _Optional[int] = ..., members: _Optional[_Iterable[int]] = ..., ticket: _Optional[bytes] = ...) -> None: ...

class Later(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Enroll(_message.Message):
    __slots__ = ("session", "terms", "size", "layout", "examples", "capacity", "version", "averaged")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AVERAGED_FIELD_NUMBER: _ClassVar[int]
    session: str
    terms: AveragingTerms
    size: int
    layout: str
    examples: int
    capacity: int
    version: int
    averaged: int
    def __init__(self, session: _Optional[str] = ..., terms: _Optional[_Union[AveragingTerms, _Mapping]] = ..., size: _Optional[int] = ..., layout: _Optional[str] = ..., examples: _Optional[int] = ..., capacity: _Optional[int] = ..., version: _Optional[int] = ..., averaged: _Optional[int] = ...) -> None: ...

class Enrolled(_message.Message):
    __slots__ = ("member", "version", "give_half", "tensors")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GIVE_HALF_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    member: int
    version: int
    give_half: bool
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, member: _Optional[int] = ..., version: _Optional[int] = ..., give_half: bool = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class PutHalf(_message.Message):
    __slots__ = ("session", "version", "tensors")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    session: str
    version: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, session: _Optional[str] = ..., version: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class BeginRound(_message.Message):
    __slots__ = ("session", "version")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    version: int
    def __init__(self, session: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class RoundBegun(_message.Message):
    __slots__ = ("round", "version", "tensors")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    round: int
    version: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, round: _Optional[int] = ..., version: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class AskShare(_message.Message):
    __slots__ = ("session", "left", "epoch", "version", "seen")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    session: str
    left: int
    epoch: int
    version: int
    seen: int
    def __init__(self, session: _Optional[str] = ..., left: _Optional[int] = ..., epoch: _Optional[int] = ..., version: _Optional[int] = ..., seen: _Optional[int] = ...) -> None: ...

class Share(_message.Message):
    __slots__ = ("step", "count", "members", "version", "give_half", "tensors", "ticket")
    STEP_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GIVE_HALF_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    step: int
    count: int
    members: _containers.RepeatedScalarFieldContainer[int]
    version: int
    give_half: bool
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    ticket: bytes
    def __init__(self, step: _Optional[int] = ..., count: _Optional[int] = ..., members: _Optional[_Iterable[int]] = ..., version: _Optional[int] = ..., give_half: bool = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., ticket: _Optional[bytes] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("session", "round", "stage", "weight", "tensors", "blobs")
    class BlobsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: bytes
        def __init__(self, key: _Optional[int] = ..., value: _Optional[bytes] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    session: str
    round: int
    stage: str
    weight: float
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    blobs: _containers.ScalarMap[int, bytes]
    def __init__(self, session: _Optional[str] = ..., round: _Optional[int] = ..., stage: _Optional[str] = ..., weight: _Optional[float] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., blobs: _Optional[_Mapping[int, bytes]] = ...) -> None: ...

class Gathered(_message.Message):
    __slots__ = ("round", "stage", "members", "version", "weight", "tensors", "blobs", "moment")
    class BlobsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: bytes
        def __init__(self, key: _Optional[int] = ..., value: _Optional[bytes] = ...) -> None: ...
    ROUND_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    round: int
    stage: str
    members: _containers.RepeatedScalarFieldContainer[int]
    version: int
    weight: float
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    blobs: _containers.ScalarMap[int, bytes]
    moment: Moment
    def __init__(self, round: _Optional[int] = ..., stage: _Optional[str] = ..., members: _Optional[_Iterable[int]] = ..., version: _Optional[int] = ..., weight: _Optional[float] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., blobs: _Optional[_Mapping[int, bytes]] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...
