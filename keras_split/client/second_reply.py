"""The second reply to a backward, whose gradients came early."""

from collections.abc import Callable
from dataclasses import replace

from keras_split.client.connection import Connection
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import SmashedGrad
from keras_split.transports import Transport
from keras_split.transports.transport import expect


def second_reply(
    connection: Connection,
    message: Backward,
    resume: Callable[[Backward], Transport],
) -> Committed | SmashedGrad:
    """Waits until the server has taken the step.

    Where the connection was lost in between, the message is sent again, and
    has one reply then.

    Args:
        connection: To the server.
        message: The backward.
        resume: Connects anew, to where a message can be sent.

    Raises:
        RefusedError: If the server did not take it.
        TransportError: If the server went away.
    """
    try:
        transport = connection.transport or resume(message)
        if transport.owes:
            return expect(Committed, transport.collect())
        again = replace(message, session=connection.session, early=False)
        return expect(SmashedGrad, transport.exchange(again))
    except RefusedError:
        raise
    except BaseException:
        connection.hang_up()
        raise
