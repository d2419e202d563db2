"""What a client model knows of its server."""

import gc
import json
import math
from typing import Any
from weakref import ReferenceType
from weakref import WeakKeyDictionary
from weakref import ref

import keras

from keras_split.client import in_graph
from keras_split.client.strategy import SplitStrategy
from keras_split.compression import codecs
from keras_split.errors import OptionError
from keras_split.errors import ProtocolError
from keras_split.models.server import ServerModel
from keras_split.protocol.moment import Moment
from keras_split.server.in_process import InProcessTransport
from keras_split.server.service import TrainingService
from keras_split.training import optimizer_description
from keras_split.training.in_graph import InGraphBody
from keras_split.utils import keras_private

# Which client has a strategy, whose session is that client's alone.
_TAKEN: "WeakKeyDictionary[SplitStrategy, ReferenceType[ServerLink]]" = (
    WeakKeyDictionary()
)


class ServerLink:
    """How to reach the server.

    A plain object, so that Keras does not take the server for a layer.

    Attributes:
        strategy: Speaks with it.
        server: The one in this process, if there is one.
        tag: The server's snapshot in the file last saved or loaded.
        in_graph_body: Its body, if steps are taken in one graph with it.
        uncounted: What it was sent that no epsilon counts, by kind of tensor.
        trained_before: Whether its client was when it was made of a config, or
            a device with its seed.
    """

    def __init__(self) -> None:
        self.strategy = SplitStrategy()
        self.server: ServerModel | None = None
        self.tag = ""
        self.in_graph_body: InGraphBody | None = None
        self.uncounted: dict[str, str] = {}
        self.trained_before = False
        self._host: TrainingService | None = None
        self._compiled: tuple[Any, bool] = None, False  # when it was made

    def use(self, strategy: SplitStrategy | None) -> None:
        """Takes a new strategy; the session of the old one ends.

        Raises:
            OptionError: If another client has it.
        """
        if strategy is not None:
            _check_free(strategy, self)
        self.strategy.close()
        if strategy is not None:
            moment = self.moment
            self.strategy = strategy
            self.moment = moment
            _TAKEN[strategy] = ref(self)

    @property
    def moment(self) -> Moment:
        """That of the body after the client's last step."""
        return self.strategy.session.connection.moment

    @moment.setter
    def moment(self, moment: Moment) -> None:
        self.strategy.session.connection.moment = moment

    @property
    def reachable(self) -> bool:
        """Whether there is a server to connect to."""
        known = not self.strategy.local or self.server is not None
        return known or self.strategy.connected

    def host(self) -> TrainingService | None:
        """The server in this process, if there is one.

        Another one if the server was compiled since, or layers were frozen
        of which its optimizer knows; what the last one keeps stays.
        """
        server, last = self.server, self._host
        if server is None:
            return last
        frozen = _own_optimizer(server) is not None and server.half.stale
        if last is None or self._recompiled or frozen:
            # Nobody else could need the place of one that is silent: its
            # client is here, and may sit in a notebook.
            self._host = server.host(idle_timeout_s=math.inf)
            self._compiled = _own_optimizer(server), server.own_learning_rate
            if last is not None:
                kept = last.shared_body.snapshots
                self._host.shared_body.snapshots = kept
        return self._host

    @property
    def _recompiled(self) -> bool:
        """Whether the server was compiled since its host was made."""
        server = self.server
        if server is None:
            return False
        own, own_rate = self._compiled
        same = own is _own_optimizer(server)
        return not same or own_rate != server.own_learning_rate

    def in_process(self) -> InProcessTransport | None:
        """A transport to the server in this process, if there is one."""
        host = self.host()
        if host is None or self.server is None:
            return None
        codec = codecs.get(self.server.contract.codec)
        return InProcessTransport(host, codec)

    def refresh(self, *, anew: bool) -> None:
        """Ends a session that is older than what its server was compiled with.

        Or than what is frozen in its body, where its client was compiled
        anew. As in Keras, that is looked at when a training begins;
        `evaluate` may have opened the session before.

        Args:
            anew: Whether the client was compiled since its last training.
        """
        strategy = self.strategy
        if self.server is None or not (strategy.local and strategy.connected):
            return
        if self._recompiled or (anew and self.server.half.stale):
            strategy.close()

    def describe(self, client: keras.Model) -> str:
        """What the server is told of the optimizer of its client.

        A server in this process takes it as it is where that does not tell
        all of it.
        """
        optimizer = getattr(client, "optimizer", None)
        server = self.server
        if server is None:
            return optimizer_description.describe(optimizer, client)
        if self.strategy.local and not optimizer_description.is_told(optimizer):
            return server.half.optimizers.know(optimizer)
        return optimizer_description.describe(optimizer, client, server.body)

    def bind(self, joins: bool) -> bool:
        """Finds the body that steps are taken with in one graph, if any.

        Args:
            joins: Whether the client's step may be part of another graph.

        Returns:
            Whether it is another one than before.
        """
        session = in_graph.joint_side(self.strategy) if joins else None
        graph = None if session is None else session.optimizer.graph
        if graph is (self.in_graph_body and self.in_graph_body.graph):
            return False
        self.in_graph_body = None
        if session is not None:
            limits = session.body.guard.limits
            self.in_graph_body = InGraphBody(
                session.optimizer.graph,
                limits.max_grad_norm,
                limits.max_smashed_norm,
                session.optimizer.own_learning_rate,
                of_length=session.body.half.of_length,
            )
        return True


def _own_optimizer(server: ServerModel) -> Any:
    """What updates the body for every client; None for their own."""
    return server.optimizer if server.compiled else None


def _check_free(strategy: SplitStrategy, link: ServerLink) -> None:
    def free() -> bool:
        taken = _TAKEN.get(strategy)
        other = None if taken is None else taken()
        return other in (None, link) or other.strategy is not strategy

    if free():
        return
    gc.collect()  # a client that nobody knows any more may still be there
    if not free():
        raise OptionError(
            "Expected a strategy of this client's own, for a strategy has one "
            "session, with the server of one client. Received: one that "
            "another client was compiled with. Make another SplitStrategy, or "
            "compile the other client with one first."
        )


def describe_loss(client: Any) -> str:
    """The loss as JSON, for the server of a model that is cut once."""
    given, wiring = keras_private.compile_config(client), client.wiring
    return json.dumps(
        keras.saving.serialize_keras_object(
            {
                "loss": wiring.by_output(given.get("loss")),
                "loss_weights": wiring.by_output(
                    given.get("loss_weights"), 1.0
                ),
            }
        )
    )


def check_microbatches(client: Any) -> None:
    """Refuses microbatches for a model that is cut once.

    Raises:
        ProtocolError: With reason `"microbatches"`.
    """
    microbatches = client.strategy.microbatches
    if client.tail is None and microbatches > 1:
        raise ProtocolError(
            "Expected microbatches=1 for a model that is cut once, whose "
            "step is one exchange. Received: SplitStrategy(..., "
            f"microbatches={microbatches}). Cut it twice, or leave "
            "microbatches out.",
            "microbatches",
        )
