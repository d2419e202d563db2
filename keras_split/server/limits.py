"""What a server allows those who call it, whoever they are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StreamLimits:
    """Bounds on calls, which hold before a session is asked for.

    Attributes:
        max_streams: Clients at the same time. Each stream has a thread.
        hello_timeout_s: How long a stream may take to open a session.
        message_timeout_s: How long a message may take to arrive, or a reply
            to be taken; in a stream 0.1 ms for each byte come on top.
        idle_timeout_s: How long a stream may be silent between messages.
        max_inflight_bytes: Memory for messages that are arriving or being
            answered, of all streams together.
        hello_burst: Sessions that one host or client may ask for at once.
        hellos_per_s: How many of these it is given back each second.
        messages_per_s: Messages that one stream may send; so many at once
            as well.
    """

    max_streams: int = 64
    hello_timeout_s: float = 20.0
    message_timeout_s: float = 60.0
    idle_timeout_s: float = 3600.0
    max_inflight_bytes: int = 2 << 30
    hello_burst: float = 200
    hellos_per_s: float = 20
    messages_per_s: float = 2000

    @property
    def watch_period_s(self) -> float:
        """How often calls are looked after, so that these times hold."""
        shortest = min(
            self.hello_timeout_s, self.message_timeout_s, self.idle_timeout_s
        )
        return min(max(shortest / 8, 0.02), 1.0)
