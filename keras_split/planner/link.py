"""How long a step takes over a network, and what of it overlaps."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from keras_split.errors import OptionError

_RATE = r"(\d+(?:\.\d+)?)([kMG])"
_LINK = re.compile(rf"{_RATE}(?:,{_RATE})?/(\d+(?:\.\d+)?)(us|ms|s)")
_BITS = {"k": 1e3, "M": 1e6, "G": 1e9}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
# What a message takes from one program to the other beside what it takes on
# the way: threads that wake, gRPC, protobuf (benchmarks/planned_steps.py).
MESSAGE = 1.2e-3
# After what part of a backward gradients of the smashed data leave, where
# those of the weights are computed behind them, and how long all of it takes
# then: means of three bodies, of 1 and 8 examples; 0.4 to 0.8 and 1.0 to 1.2.
EARLY, WHOLE = 0.6, 1.1


@dataclass(frozen=True)
class Link:
    """A network between phone and server.

    Attributes:
        uplink: Bits a second from the phone.
        downlink: Bits a second to the phone.
        round_trip: Seconds there and back of a message without length.
    """

    uplink: float
    downlink: float
    round_trip: float

    @classmethod
    def parse(cls, text: "str | Link") -> "Link":
        """A link as people write it.

        Args:
            text: `"20M/30ms"`: 20 Mbit/s each way, and a round trip of 30 ms;
                or `"20M,5M/30ms"` for 20 down and 5 up, as providers say it.

        Raises:
            OptionError: If it is none.

        Example:
        >>> Link.parse("20M,5M/30ms")
        Link(uplink=5000000.0, downlink=20000000.0, round_trip=0.03)
        """
        if isinstance(text, Link):
            return text
        found = _LINK.fullmatch(str(text).strip())
        if found is None or not float(found[1]) or found[3] == "0":
            raise OptionError(
                "Expected a link as rate and round trip, such as 20M/30ms, or "
                "20M,5M/30ms for 20 Mbit/s down and 5 up. Received: "
                f"{text!r}. Write k, M or G behind a rate, and us, ms or s "
                "behind the round trip."
            )
        down = float(found[1]) * _BITS[found[2]]
        up = float(found[3]) * _BITS[found[4]] if found[3] else down
        if not up:
            raise OptionError(
                f"Expected rates above 0. Received: {text!r}. A link that "
                "carries nothing trains nothing."
            )
        return cls(up, down, float(found[5]) * _SECONDS[found[6]])

    def __str__(self) -> str:
        down, up = _rate(self.downlink), _rate(self.uplink)
        rates = down if down == up else f"{down},{up}"
        return f"{rates}/{self.round_trip * 1e3:g}ms"

    def up(self, nbytes: float) -> float:
        """Seconds that the uplink is busy with so many bytes."""
        return 8 * nbytes / self.uplink

    def down(self, nbytes: float) -> float:
        """Seconds that the downlink is busy with so many bytes."""
        return 8 * nbytes / self.downlink


@dataclass(frozen=True)
class Traffic:
    """Bytes of a step, or of a microbatch.

    Attributes:
        smashed: Up.
        features: Down.
        features_grad: Up.
        smashed_grad: Down.
    """

    smashed: float
    features: float
    features_grad: float
    smashed_grad: float

    @property
    def up(self) -> float:
        """From the phone."""
        return self.smashed + self.features_grad

    @property
    def down(self) -> float:
        """To the phone."""
        return self.features + self.smashed_grad


@dataclass(frozen=True)
class Passes:
    """Seconds of what is computed for a step, or a microbatch.

    Attributes:
        head_forward: On the phone.
        body_forward: On the server.
        tail_step: On the phone, forward and backward.
        body_backward: On the server.
        head_backward: On the phone.
    """

    head_forward: float
    body_forward: float
    tail_step: float
    body_backward: float
    head_backward: float

    @property
    def phone(self) -> float:
        """Of the phone."""
        return self.head_forward + self.tail_step + self.head_backward

    @property
    def server(self) -> float:
        """Of the server."""
        return self.body_forward + self.body_backward


def step_seconds(
    link: Link,
    passes: Passes,
    traffic: Traffic,
    *,
    microbatches: int = 1,
    overlap: bool = True,
    labels_on_server: bool = False,
) -> float:
    """From a step's first layer to its last update.

    Each of phone, uplink, server and downlink does one thing at a time, in
    the order in which `SplitStrategy` asks for it.

    Args:
        link: The network.
        passes: Of one microbatch.
        traffic: Of one microbatch.
        microbatches: How many make the batch.
        overlap: Whether the server sends gradients of the smashed data before
            it computes those of its weights; see `EARLY` and `WHOLE`. A phone
            with LiteRT commits with its own backward, so it waits for the
            server's commit first; what overlaps is the way of the gradients,
            if there are any. With microbatches the server has the next one to
            do.
        labels_on_server: Whether the model is cut once, so that the server
            does all of its work in one go.
    """
    one_way = link.round_trip / 2 + MESSAGE
    free = {"phone": 0.0, "up": 0.0, "server": 0.0, "down": 0.0}

    def take(who: str, ready: float, seconds: float) -> float:
        free[who] = max(free[who], ready) + seconds
        return free[who]

    def sent(way: str, ready: float, seconds: float) -> float:
        return take(way, ready, seconds) + one_way

    parts = range(microbatches)
    arrived = []
    for _ in parts:
        made = take("phone", 0.0, passes.head_forward)
        arrived.append(sent("up", made, link.up(traffic.smashed)))
    rest = 0.0
    if labels_on_server:
        back = [
            take("server", at, passes.body_forward + passes.body_backward)
            for at in arrived
        ]
    else:
        computed = [take("server", at, passes.body_forward) for at in arrived]
        features = [
            sent("down", at, link.down(traffic.features)) for at in computed
        ]
        stepped = [take("phone", at, passes.tail_step) for at in features]
        gradients = [
            sent("up", at, link.up(traffic.features_grad)) for at in stepped
        ]
        first, rest = passes.body_backward, 0.0
        if overlap and microbatches == 1 and traffic.smashed_grad:
            first, rest = EARLY * first, (WHOLE - EARLY) * first
        back = [take("server", at, first) for at in gradients]
        free["server"] += rest
    down = traffic.smashed_grad + (traffic.features if labels_on_server else 0)
    arrived = [sent("down", at, link.down(down)) for at in back]
    # The server says that it has committed.
    committed = free["server"] + one_way if rest else 0.0
    for at in arrived:
        take("phone", max(at, committed), passes.head_backward)
    return free["phone"]


def best_microbatches(
    batch: int, seconds: Callable[[int], float]
) -> tuple[int, float]:
    """In how many parts a batch travels fastest: 1, 2, 4 or 8.

    More than one only where it saves a twentieth: they cost messages, and
    BatchNorm sees smaller batches.

    Args:
        batch: Examples.
        seconds: Of a step with so many.
    """
    found, least = 1, seconds(1)
    for count in (2, 4, 8):
        if batch % count == 0:
            taken = seconds(count)
            if taken < 0.95 * least and math.isfinite(taken):
                found, least = count, taken
    return found, least


def _rate(bits: float) -> str:
    unit = "G" if bits >= 1e9 else "M" if bits >= 1e6 else "k"
    return f"{bits / _BITS[unit]:g}{unit}"
