"""Who listens to a session, and changes nothing."""

from keras_split.protocol.messages import Message


class SessionTap:
    """Hears each message of a session and each reply; a callback of it.

    Override what is of interest. Messages are those of `keras_split.messages`:
    `Forward` with smashed data and `Features` in reply, `Backward` with their
    gradients and `SmashedGrad` in reply, `LabeledStep`, `Infer` and others.
    Nobody may write into their arrays. What a tap raises ends the step. What
    a session says at its end, and of snapshots that nobody needs, may go
    unheard.

    With a tap, a server in this process is sent messages as well: a step that
    is one graph with it has none.

    Example:
        class Names(keras_split.SessionTap):
            def sent(self, message):
                print(type(message).__name__)

        strategy = keras_split.SplitStrategy(taps=[Names()])
    """

    def sent(self, message: Message) -> None:
        """Called before a message leaves.

        Once for each message: what is sent again when the connection was lost
        is not heard again.
        """

    def received(self, message: Message, reply: Message) -> None:
        """Called with a message and what the server answered.

        A refusal is raised instead, and not heard here. A `Backward` that is
        answered before the server's update is heard twice, with its
        `SmashedGrad` and with `Committed`.
        """
