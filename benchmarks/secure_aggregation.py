"""What a sum that the server cannot read costs, beside one that it can.

    python benchmarks/secure_aggregation.py --rounds 3

Phones and server take turns in one thread, and bytes are those of their
messages as gRPC carries them, without TLS: what is timed is arithmetic, not a
network. For each setting a round under masks, one under masks where a tenth of
the phones is gone after its shares, and a plain one alternate.
"""

import argparse
import time
from collections.abc import Collection
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from _report import Report
from _report import machine
from _report import write_option

from keras_split.aggregation.means import Mean
from keras_split.aggregation.secure_phone import SecurePhone
from keras_split.aggregation.secure_sum import SecureSum
from keras_split.compression import codecs
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.messages import Message
from keras_split.protocol.vectors import to_tensors
from keras_split.protocol.wire.size import nbytes

NAME = "0123456789abcdef" * 2
_Blobs = Mapping[int, bytes]
_Vector = np.ndarray[Any, Any]


@dataclass
class Cost:
    """What one round took.

    Attributes:
        phone_s: Seconds of all phones together.
        server_s: Seconds of the server.
        up: Bytes of a phone to the server.
        down: Bytes of the server to a phone.
    """

    phone_s: float = 0.0
    server_s: float = 0.0
    up: int = 0
    down: int = 0

    def phone(self, call: Any, *arguments: Any) -> Any:
        """Has a phone do something."""
        start = time.perf_counter()
        result = call(*arguments)
        self.phone_s += time.perf_counter() - start
        return result

    def server(self, call: Any, *arguments: Any) -> Any:
        """Has the server do something."""
        start = time.perf_counter()
        result = call(*arguments)
        self.server_s += time.perf_counter() - start
        return result

    def say(self, up: Message, down: Message) -> None:
        """A message of a phone and its reply."""
        self.up += _bytes(up)
        self.down += _bytes(down)


def _bytes(message: Message) -> int:
    return nbytes(message, codecs.get("raw"))


def plain(vectors: list[_Vector], weights: list[float]) -> Cost:
    """A round of vectors that the server reads."""
    cost = Cost()
    mean = cost.server(Mean().of, vectors, weights)
    members = tuple(range(len(vectors)))
    cost.say(
        Contribution(NAME, 1, "value", 600.0, to_tensors(vectors[0])),
        Gathered(1, "value", members, 2, 600.0, to_tensors(mean)),
    )
    return cost


def secure(
    vectors: list[_Vector],
    weights: list[float],
    bits: int,
    gone: Collection[int] = (),
) -> Cost:
    """A round under masks; the bytes are those of the last phone."""
    cost, one = Cost(), len(vectors) - 1
    total = SecureSum(NAME, 1, vectors[0].size, bits)
    phones = {
        member: cost.phone(
            SecurePhone, NAME, 1, member, vector, weights[member], bits
        )
        for member, vector in enumerate(vectors)
    }

    def say(stage: str, given: Any, members: Any, **told: Any) -> None:
        what: dict[str, Any] = {"blobs": given}
        if stage == "value":
            what = {"tensors": to_tensors(given)}
        cost.say(
            Contribution(NAME, 1, stage, **what),
            Gathered(1, stage, members, **told),
        )

    keys: dict[int, bytes] = {m: p.keys() for m, p in phones.items()}
    for key in keys.values():
        cost.server(total.check_keys, key)
    roster: _Blobs = cost.server(total.keys, keys)
    say("keys", {one: keys[one]}, total.members, blobs=roster)

    shares: dict[int, _Blobs] = {
        m: cost.phone(p.shares, roster) for m, p in phones.items()
    }
    for member, blobs in shares.items():
        cost.server(total.check_shares, member, blobs)
    sealed = cost.server(total.shares, shares)
    say("shares", shares[one], total.members, blobs=sealed[one])

    left = {m: p for m, p in phones.items() if m not in gone}
    values = {
        m: cost.phone(p.value, total.members, sealed[m])
        for m, p in left.items()
    }
    cost.server(total.values, values)
    say("value", values[one], total.members)

    told: dict[int, _Blobs] = {
        m: cost.phone(p.unmask, total.members) for m, p in left.items()
    }
    for member, blobs in told.items():
        cost.server(total.check_unmask, member, blobs)
    mean, weight, members = cost.server(total.mean, told)
    tensors = to_tensors(mean)
    say(
        "unmask",
        told[one],
        members,
        version=2,
        weight=weight,
        tensors=tensors,
    )
    return cost


def measure(size: int, phones: int, rounds: int, report: Report) -> None:
    """The rows of one setting."""
    random = np.random.default_rng(0)
    vectors = [
        random.normal(0, 0.01, size).astype(np.float32) for _ in range(phones)
    ]
    weights = [600.0] * phones
    gone = range(max(1, phones // 10))
    kinds = {
        "plain": lambda: (plain(vectors, weights), None),
        **{
            f"{bits} bits": lambda bits=bits: (
                secure(vectors, weights, bits),
                secure(vectors, weights, bits, gone),
            )
            for bits in (32, 64)
        },
    }
    found: dict[str, list[Any]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, run in kinds.items():
            found[kind].append(run())
    for kind, costs in found.items():
        first, dropped = costs[0]
        report.row(
            f"{size:,}",
            phones,
            kind,
            _ms([all_there.phone_s / phones for all_there, _ in costs]),
            _ms([all_there.server_s for all_there, _ in costs]),
            _ms([d.server_s for _, d in costs]) if dropped else "",
            _kb(first.up),
            _kb(first.down),
        )


def _ms(seconds: list[float]) -> str:
    return f"{1000 * float(np.median(seconds)):,.1f}"


def _kb(count: int) -> str:
    return f"{count / 1000:,.1f}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[20_000, 1_000_000]
    )
    parser.add_argument("--phones", type=int, nargs="*", default=[3, 10, 30])
    parser.add_argument("--rounds", type=int, default=5)
    write_option(parser)
    options = parser.parse_args()
    report = Report("secure-aggregation", write=options.write)
    report.say(
        f"{machine()}; median of {options.rounds} rounds of each kind in turn, "
        "in one thread. Milliseconds of a phone and of the server in a round; "
        "those of the server also where a tenth of the phones, one at least, "
        "was gone after its shares. Kilobytes of one phone in a round."
    )
    report.header(
        "numbers",
        "phones:",
        "sum",
        "a phone ms:",
        "server ms:",
        "some gone ms:",
        "up kB:",
        "down kB:",
    )
    for size in options.sizes:
        for phones in options.phones:
            measure(size, phones, options.rounds, report)
    report.end()
    report.close()


if __name__ == "__main__":
    main()
