"""The optimizer that updates a body for all of its sessions, if one does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from keras_split.errors import ProtocolError
from keras_split.protocol.moment import Moment

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import ServerHalf

_Slots = Sequence[np.ndarray[Any, Any]]


class OwnOptimizer:
    """The optimizer that updates a body for all of its sessions, if one does.

    It is the server's own, or, where sessions take their steps together, the
    one that the first of them asks for; the others must ask for the same.

    Args:
        half: The body.
        own: The server's; None if it has none.
        together: Whether sessions take their steps together.

    Attributes:
        together: The same.
    """

    def __init__(
        self, half: "ServerHalf", own: "BodyOptimizer | None", together: bool
    ) -> None:
        self.together = together
        self._half = half
        self._own = own
        self._is_servers = own is not None
        self._asked = ""
        # Where the body was when it was asked for, without slots.
        self._began: Moment | None = None
        # Of a checkpoint, until somebody asks for what they are of.
        self._slots: _Slots = ()
        self._name = ""

    @property
    def servers(self) -> "BodyOptimizer | None":
        """The server's own, if it has one."""
        return self._own if self._is_servers else None

    @property
    def name(self) -> str:
        """Its class in Keras; empty if there is none."""
        return self._own.name if self._own is not None else self._name

    def weights(self) -> _Slots:
        """A copy of its slots; none if there is none."""
        return self._own.weights() if self._own is not None else self._slots

    def load(self, slots: _Slots, name: str) -> None:
        """Goes on with the slots of a checkpoint, if that has any."""
        if self._own is None:
            self._slots, self._name = slots, name
        elif slots:
            self._own.set_weights(slots)

    def of(
        self, config: str, loss: str, *, free: bool = False
    ) -> "BodyOptimizer":
        """What updates the body for a session, by the configs of its `Hello`.

        Args:
            config: Of the optimizer.
            loss: Of the loss, for a model that is cut once.
            free: Whether there is no other session.

        Raises:
            ProtocolError: If it cannot have what it asks for; with reason
                `"cohort"`, if that is not what the others have.
        """
        half = self._half
        with half.lock:
            if self._own is None and not self.together:
                return half.optimizer(config, loss)
            if not self._is_servers:
                self._agree(config, free)
            assert self._own is not None
            return half.optimizers.with_loss(self._own, loss)

    def _agree(self, config: str, free: bool) -> None:
        asked = self._half.optimizers.key(config)
        if free and asked != self._asked:
            self._forget_unused()
        if self._own is None:
            made = self._half.optimizers.of_all(config)
            if self._slots:
                _check_fits(made, self._name, self._slots)
                made.set_weights(self._slots)
            self._began = None if self._slots else self._half.timeline.moment
            self._own, self._asked, self._slots = made, asked, ()
        if asked != self._asked:
            raise ProtocolError(
                "Expected the optimizer of the other phones, for one updates "
                f"the body for all: {self._asked}. Received: {asked}. Compile "
                "all phones alike, or start the server with an optimizer of "
                "its own: serve --optimizer.",
                "cohort",
            )

    def _forget_unused(self) -> None:
        """Lets the next one ask for another, if none took a step with it."""
        if self._own is None or self._began != self._half.timeline.moment:
            return
        self._own.lasting = False  # it has been for all
        self._own.leave()
        self._own = None


def _check_fits(made: "BodyOptimizer", name: str, slots: _Slots) -> None:
    expected = [slot.shape for slot in slots]
    received = [slot.shape for slot in made.weights()]
    if name in ("", made.name) and expected == received:
        return
    raise ProtocolError(
        f"Expected the optimizer that the phones had before, {name}. Received: "
        f"{made.name}, or with other slots. Compile the phones as before, or "
        "serve with a new folder for checkpoints.",
        "cohort",
    )
