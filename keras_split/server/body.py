"""One body, and what belongs to it alone."""

import logging
import shutil
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

from keras_split.compression.formats import floats_are_finite
from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import LabeledResult
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import payload_bytes
from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import Timeline
from keras_split.server.body_options import BodyOptions
from keras_split.server.callbacks import label
from keras_split.server.fair_lock import FairLock
from keras_split.server.guards import Guard
from keras_split.server.own_optimizer import OwnOptimizer
from keras_split.server.session_state import SessionState
from keras_split.server.storage.checkpointer import Checkpointer
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.checkpoints import HostState
from keras_split.server.storage.cohort_state import CohortState
from keras_split.server.storage.snapshots import Snapshots

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import ServerHalf

_LOG = logging.getLogger("keras_split.server")
# Of last replies of one client in a checkpoint, beside its youngest.
REPLY_BYTES = 128 << 20
_WAITING_BATCHES = 4  # of the largest size, whose steps may wait in memory


class Trainer(Protocol):
    """Who trains a body: a session."""

    name: str
    client: str
    data: DataDigest
    resting: bool

    def state(self) -> SessionState:
        """What outlives the server; the body's lock must be held."""


class Body:
    """A body with its turns, optimizers, snapshots and checkpoints.

    Args:
        half: Computes.
        optimizer: Updates it for every session; by default each has the
            optimizer that its client asks for.
        options: What it has in common with others.
        snapshots: Where copies of it are kept.
        checkpoints: Where its states are kept; None if it forgets.

    Attributes:
        half: The same.
        snapshots: The same.
        guard: Says which tensors may reach it.
        turns: Who trains it waits here for the others.
        keeps_checkpoints: Whether its steps outlive the server.
        cohort: Tells what is kept with it of the phones that train one model;
            None without.
        found_cohort: What the checkpoint had of them with which it goes on.
    """

    def __init__(
        self,
        half: "ServerHalf",
        optimizer: "BodyOptimizer | None" = None,
        options: BodyOptions | None = None,
        snapshots: Snapshots | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        options = options or BodyOptions()
        self.half = half
        self.guard = Guard(half, options.limits)
        half.in_flight.max_examples = (
            _WAITING_BATCHES * options.limits.max_batch
        )
        self.turns = FairLock()
        self.snapshots = snapshots or Snapshots()
        self.keeps_checkpoints = checkpoints is not None
        self.cohort: Callable[[], CohortState] | None = None
        self.found_cohort: CohortState | None = None
        self._own = OwnOptimizer(half, optimizer, options.together)
        self._events = options.events
        self._trainers: dict[str, Trainer] = {}
        self._checkpoints = checkpoints
        self._odd = odd_variables(half)
        self._checkpointer: Checkpointer | None = None
        if checkpoints is not None:
            self._checkpointer = Checkpointer(
                checkpoints,
                options.every,
                options.every_bytes,
                self._state,
                self._events,
                self._odd,
            )

    # -- who trains it -----------------------------------------------------

    def optimizer(self, config: str, loss: str) -> "BodyOptimizer":
        """What updates it for a session, by the configs of its `Hello`."""
        return self._own.of(config, loss, free=self.unused)

    def join(self, trainer: Trainer) -> None:
        """Someone trains it from now on."""
        self._trainers[trainer.name] = trainer

    def leave(self, trainer: Trainer) -> None:
        """Someone does not train it any more."""
        self._trainers.pop(trainer.name, None)

    def check_data(self, data: DataDigest) -> None:
        """Refuses a client whose data is not that of others who train it.

        Those are all that took a step, ever, and all that may take one now.

        Raises:
            ProtocolError: With reason `"data"`.
        """
        for trainer in [*self._trainers.values()]:
            if not trainer.resting:
                trainer.data.check(data)
        self.half.data.check(data)

    @property
    def unused(self) -> bool:
        """Whether nobody trains it."""
        return not self._trainers

    # -- snapshots ---------------------------------------------------------

    def snapshot(
        self, optimizer: "BodyOptimizer", trainer: Trainer, *, held: bool
    ) -> str:
        """Keeps a copy of weights and slots; returns its tag.

        Args:
            optimizer: Has the slots.
            trainer: Asks for it.
            held: Whether others of its client do not push it out, until it
                is released or its trainer leaves.
        """
        with self.half.lock:
            return self.snapshots.save(
                self.half.weights(),
                optimizer.weights(),
                trainer.client or trainer.name,
                trainer.name if held else "",
                self.half.timeline,
            )

    def restore(self, tag: str, optimizer: "BodyOptimizer | None") -> None:
        """Brings a copy back.

        Args:
            tag: Which one.
            optimizer: Gets its slots back, if any does.

        Raises:
            ProtocolError: With reason `"snapshot"`, if there is none of this
                body; nothing has changed.
        """
        kept = self.snapshots.load(tag)
        values, slots = kept.body, kept.optimizer
        with self.half.lock:
            if not _fit(values, self.half.body.variables):
                raise ProtocolError(
                    "Expected a snapshot of this body. Received: "
                    f"{tag!r}, of a body with other weights. Start "
                    "the server with a snapshot folder of its own.",
                    "snapshot",
                )
            even = [v for i, v in enumerate(values) if i not in self._odd]
            if not all(map(floats_are_finite, [*even, *slots])):
                raise ProtocolError(
                    "Expected a snapshot with finite numbers. Received: NaN "
                    f"or infinity in {tag!r}. Use an older one.",
                    "snapshot",
                )
            if optimizer is not None:
                if _fit(slots, optimizer.weights()):
                    optimizer.set_weights(slots)
                else:  # as Keras does when the optimizer is another one
                    _LOG.warning(
                        "snapshot %s was taken with another optimizer; only "
                        "the weights come back",
                        tag,
                    )
            self.half.set_weights(values)
            self.half.timeline = kept.timeline or self.half.timeline.lost()

    # -- checkpoints -------------------------------------------------------

    def load(self) -> Sequence[SessionState] | None:
        """Goes on from the last checkpoint.

        Returns:
            Who trained it then; None if there was never a checkpoint.

        Raises:
            DataError: If checkpoints are damaged, of another model, or of a
                server with another optimizer.
        """
        kept, checkpointer = self._checkpoints, self._checkpointer
        if kept is None or checkpointer is None:
            return None
        loaded = kept.load(self.half.contract.fingerprint, self._odd)
        if loaded is None:
            return None
        state, path = loaded
        own = self._own
        check_optimizer(state, own.servers, kept, together=own.together)
        _check_data(state, self.half.data, kept)
        self.half.set_weights(state.body)
        self.half.timeline = state.timeline or _older(state)
        self.half.data = self.half.data.or_else(state.data)
        own.load(state.slots, state.optimizer)
        checkpointer.loaded(state)
        self.found_cohort = state.cohort
        self._events.loaded(
            str(path), {label(s.name): s.next_step for s in state.sessions}
        )
        return state.sessions

    def write_first(self) -> None:
        """Writes a checkpoint before anybody trains.

        Raises:
            DataError: If it cannot be written.
        """
        kept, checkpointer = self._checkpoints, self._checkpointer
        if kept is None or checkpointer is None or checkpointer.try_now():
            return
        raise DataError(
            f"Expected to write checkpoints to {kept.folder}. "
            "Received: an error; the log has it. Choose another "
            "folder, or free some space."
        )

    def forget(self) -> None:
        """Deletes its checkpoints, for nobody can come back to it."""
        if self._checkpointer is not None:
            self._checkpointer.wait()
        if self._checkpoints is not None:
            shutil.rmtree(self._checkpoints.folder, ignore_errors=True)

    def received(self, trainer: Trainer, nbytes: int) -> None:
        """Tensors of a step have come, which their client keeps."""
        if self._checkpointer is not None:
            self._checkpointer.received(trainer.name, nbytes)

    def stepped(self, trainer: Trainer) -> None:
        """A step was taken; called in its turn."""
        if self._checkpointer is not None:
            self._checkpointer.stepped(trainer.name)

    def durable_steps(self, trainer: Trainer) -> int:
        """Steps of a session below this one outlive the server."""
        if self._checkpointer is None:
            return 0
        return self._checkpointer.durable_steps(trainer.name)

    def with_durable(self, reply: Message, trainer: Trainer) -> Message:
        """A reply to a step that was taken says what outlives the server."""
        if self._checkpointer is None or not isinstance(
            reply, (SmashedGrad, Committed, LabeledResult)
        ):
            return reply
        durable_steps = self._checkpointer.durable_steps(trainer.name)
        return type(reply)(**vars(reply) | {"durable_steps": durable_steps})

    def write(self) -> None:
        """Writes a checkpoint now, whatever the last one has."""
        if self._checkpointer is not None:
            self._checkpointer.try_now()

    def write_restored(self) -> None:
        """Writes a checkpoint now, for the last one is of another time.

        Raises:
            ProtocolError: With reason `"checkpoint"`, if it cannot.
        """
        if self._checkpointer is not None:
            self._checkpointer.make_sure_of_restored()

    def write_last(self) -> None:
        """Writes a checkpoint if steps were taken since the last one."""
        if self._checkpointer is not None:
            self._checkpointer.try_now(anyway=False)

    def make_durable(self, *, anyway: bool = False) -> None:
        """Writes what is not durable yet.

        Args:
            anyway: Whether to write even if no step was taken.

        Raises:
            ProtocolError: With reason `"checkpoint"`, if it cannot.
        """
        if self._checkpointer is not None:
            self._checkpointer.make_sure(anyway=anyway)

    def _state(self) -> HostState:
        with self.half.lock:
            return HostState(
                self.half.contract.fingerprint,
                self.half.weights(),
                self._own.weights(),
                _within(
                    [trainer.state() for trainer in [*self._trainers.values()]]
                ),
                self._own.name,
                self.half.timeline,
                self.half.data,
                None if self.cohort is None else self.cohort(),
            )


def odd_variables(half: "ServerHalf") -> frozenset[int]:
    """Which variables are infinite before anybody trains, such as masks."""
    return frozenset(
        i
        for i, values in enumerate(half.weights())
        if not floats_are_finite(values)
    )


def check_durable(keeps_checkpoints: bool) -> None:
    """Promises nothing that a server without checkpoints cannot keep."""
    if not keeps_checkpoints:
        raise ProtocolError(
            "Expected a server that keeps checkpoints. Received: a Checkpoint "
            "to one that keeps none: its steps are lost with it. Start it with "
            "serve --checkpoints FOLDER; Welcome.keeps_checkpoints says so.",
            "checkpoint",
        )


def check_optimizer(
    state: HostState,
    own: "BodyOptimizer | None",
    kept: Checkpoints,
    *,
    together: bool = False,
) -> None:
    """Refuses to go on with another optimizer than that of a checkpoint.

    Its slots would be lost, or taken for those of another rule.

    Args:
        state: What was kept.
        own: The server's own optimizer, if it has one.
        kept: Where.
        together: Whether one is for all sessions, if it has none.

    Raises:
        DataError: If they do not belong together.
    """
    if own is None and together:
        alike = not any(session.slots for session in state.sessions)
    elif own is None:
        alike = not state.slots
    elif not state.slots:
        alike = not state.sessions  # each with slots of its own
    else:
        alike = state.optimizer in ("", own.name)
        alike = alike and _fit(state.slots, own.weights())
    if alike:
        return
    found = "one of another class or shape" if state.slots else "none"
    raise DataError(
        f"Expected checkpoints in {kept.folder} of a server whose own "
        f"optimizer is {own.name if own is not None else 'none'}. Received: "
        f"{state.optimizer or found}. Serve it as it was (--optimizer, "
        "server.compile), or choose another folder."
    )


def _older(state: HostState) -> Timeline:
    """That of a checkpoint of a version which knew none."""
    steps = sum(session.next_step for session in state.sessions)
    return Timeline(Moment("?", steps)).lost()


def _check_data(state: HostState, own: DataDigest, kept: Checkpoints) -> None:
    """Refuses to go on with a body that was trained with other data.

    Raises:
        DataError: If so.
    """
    try:
        own.check(state.data)
    except ProtocolError as error:
        raise DataError(
            f"Expected checkpoints in {kept.folder} of a body that was trained "
            f"with the data that server.keras or the preset says, {own}. "
            f"Received: {state.data}. Choose another folder, or serve what "
            "was served before."
        ) from error


def _within(states: Sequence[SessionState]) -> list[SessionState]:
    """The same sessions, without replies over the limit of their client.

    Those with the youngest replies keep theirs. A client that lost the
    reply to its last step together with the server is then told so.
    """
    left: dict[str, int] = {}
    kept: dict[str, SessionState] = {}
    for state in sorted(states, key=lambda state: -state.replied_at):
        nbytes = sum(payload_bytes(reply) for reply in state.replies)
        room = left.setdefault(state.client, max(REPLY_BYTES, nbytes))
        if nbytes > room:
            state = replace(state, replies=())
        else:
            left[state.client] -= nbytes
        kept[state.name] = state
    return [kept[state.name] for state in states]


def _fit(arrays: Sequence[Any], variables: Sequence[Any]) -> bool:
    return [a.shape for a in arrays] == [tuple(v.shape) for v in variables]
