"""A host without a body, for tests of what carries messages."""

from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import ServerCallback


class Heard(ServerCallback):
    """Remembers what it was told."""

    def __init__(self):
        self.refusals = []
        self.traffic = []

    def refused(self, session, caller, reason):
        self.refusals.append((caller, reason))

    def carried(self, session, uplink, downlink):
        self.traffic.append((session, uplink, downlink))


class Scripted:
    """Does what it is told to with each message.

    Args:
        answer: The reply to a message.
    """

    def __init__(self, answer, max_message_bytes=1 << 20):
        self.max_message_bytes = max_message_bytes
        self.events = Heard()
        self.answer = answer
        self.callers = []
        self.left = []
        self.ended = []

    def handle(self, message, caller=None, early=None):
        self.callers.append(caller or Caller())
        return self.answer(message)

    def hear(self, session):
        pass

    def leave(self, session):
        self.left.append(session)

    def drain(self, grace_s):
        self.ended.append("drained")

    def close_all(self):
        self.ended.append("closed")
