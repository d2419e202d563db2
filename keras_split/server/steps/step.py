"""A step of the body, from the first of its messages to its commit."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING

from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.server.accounts import Account
from keras_split.server.guards import Guard

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import ServerHalf

Early = Callable[[Message], None]
StepMessage = Forward | Backward | LabeledStep


@dataclass(frozen=True)
class Means:
    """What a session takes its steps with.

    Attributes:
        half: The body.
        optimizer: Updates it for this client.
        guard: Says which tensors may reach it.
        account: Where what they take is counted.
    """

    half: "ServerHalf"
    optimizer: "BodyOptimizer"
    guard: Guard
    account: Account = field(default_factory=Account)


@dataclass(eq=False)
class Step(abc.ABC):
    """A step in flight: what it holds, and what its messages do to the body.

    Nothing but its last message changes the body. A subclass checks the first
    message when it is made, so a malformed one puts no other step aside.

    Attributes:
        number: Its number in the session.
        replies: Answers to those of its messages that would be sent again if
            they were lost: one, or one a microbatch.
        done: Whether the body has taken it.
        compute_s: What it took so far.
        examples: In its batch.
        again: Whether another one of its number has just been given up: its
            client asks more than once, as for a check of the gradients. It
            does not wait in memory then, for each that waits in vain costs.
    """

    number: int
    _means: Means
    replies: list[Message] = field(default_factory=list)
    done: bool = False
    compute_s: float = 0.0
    examples: int = 0
    again: bool = False

    @property
    def holds(self) -> bool:
        """Whether it has something in memory that is given up with it."""
        return self.again

    @property
    def waits(self) -> bool:
        """Whether it went forward and is to go backward."""
        return not self.done

    @abc.abstractmethod
    def belongs(self, message: StepMessage) -> bool:
        """Whether a message of its number goes on with it.

        Raises:
            ProtocolError: If its client has given up what the message is of.
        """

    @abc.abstractmethod
    def answer(self, message: StepMessage, early: Early | None) -> Message:
        """Answers its first message, or one that belongs to it.

        Args:
            message: What came.
            early: Sends a reply that goes before the one that is returned;
                None where there is one reply to a message.

        Raises:
            ProtocolError: If it is malformed, or out of order.
        """

    @abc.abstractmethod
    def abandon(self) -> None:
        """Frees what it holds in memory."""
