"""Known answers of a cohort, for phones in TypeScript.

Run it after a change that phones in other languages must follow:

    python -m tests.web.cohort_vectors
"""

import hashlib
import itertools
import json
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from Crypto.Protocol import SecretSharing

from keras_split.aggregation import masks
from keras_split.aggregation import secret_sharing
from keras_split.aggregation import secure_phone
from keras_split.aggregation.fixed_point import FixedPoint
from keras_split.protocol.half_layout import BATCHNORM
from keras_split.protocol.half_layout import HalfLayout
from keras_split.protocol.half_layout import HalfTensor
from tests.aggregation.secure_round import COHORT
from tests.aggregation.secure_round import SecureRound

FILE = Path(__file__).parents[2] / "web/client/tests/cohort/vectors.json"
ROUND = 5
# By member: what it brings. Numbers that round up, down and to even.
SUMMANDS = {
    0: ([0.5, -1.25, 3e-8], 1),
    3: ([-15.75, 0.1, -2.5e-6], 60),
    7: ([1e-12, 16.0, -16.0], 0),
    258: ([0.3, -0.7, 1.0], 1000),
}

# Of a client.json: name, kind, shape, variable.
STATE = (
    ("head_0", "weight", (3, 3, 1, 2), "conv/kernel"),
    ("head_1", "weight", (2,), "block/bn/gamma"),
    ("head_2", "statistic", (2,), "block/bn/moving_mean"),
    ("head_0_momentum", "slot", (3, 3, 1, 2), "SGD/conv_kernel_momentum"),
    ("tail_0", "weight", (2, 3), "block/bn/kernel"),
    ("tail_1", "weight", (), "scale"),
    ("tail_0_momentum", "slot", (2, 3), "SGD/kernel_momentum"),
)
FROZEN = "ab" * 32


class Chance:
    """Bytes that look like chance, and are always the same."""

    def __init__(self, seed):
        self._blocks = (
            hashlib.sha256(f"{seed} {i}".encode()).digest()
            for i in itertools.count()
        )

    def __call__(self, count):
        block = next(self._blocks)
        assert count <= len(block)
        return block[:count]


@contextmanager
def chance(seed):
    """Phones that are made in here, or act, have no secrets."""
    draws = Chance(seed)
    with (
        mock.patch.object(secure_phone.secrets, "token_bytes", draws),
        mock.patch.object(SecretSharing, "rng", draws),
    ):
        yield


def vectors():
    """All of them, as JSON holds them."""
    return {
        "fixed_point": [fixed_point(bits) for bits in (32, 64)],
        "masks": [mask(bits) for bits in (32, 64)],
        "shamir": [shamir(*sizes) for sizes in ((2, 2), (3, 5), (130, 258))],
        "rounds": [secure_round(bits) for bits in (32, 64)],
        "layouts": [layout(batchnorm) for batchnorm in BATCHNORM],
    }


def fixed_point(bits):
    vector = np.array(
        [0, 1, -1, 0.1, -0.1, 2.0**-30, -(2.0**-30), 15.99, -16], np.float32
    )
    vector = np.concatenate([vector, 3 * vector[3:7] * 2.0**-20])
    cases = []
    for exponents, weight in (((0, 0), 1), ((3, 10, 9), 700), ((20, 1), 2**20)):
        form = FixedPoint.of(bits, exponents)
        words = form.encode(vector, weight)
        cases.append(
            {
                "exponents": exponents,
                "weight": weight,
                "fraction": form.fraction,
                "encoded": [str(n) for n in words],
            }
        )
    return {"bits": bits, "vector": vector.tolist(), "cases": cases}


def mask(bits):
    key = masks.self_key(bytes(range(16)), bytes(range(32)), 7)
    size = 300_001  # more than a chunk of either
    numbers = np.arange(size, dtype=f"uint{bits}") * np.array(
        0x9E3779B1, f"uint{bits}"
    )
    plus, minus = numbers.copy(), numbers.copy()
    masks.add_stream(plus, key)
    masks.add_stream(minus, key, subtract=True)
    return {
        "bits": bits,
        "key": key.hex(),
        "size": size,
        "added": hashlib.sha256(plus.tobytes()).hexdigest(),
        "subtracted": hashlib.sha256(minus.tobytes()).hexdigest(),
    }


def shamir(threshold, members):
    secret = bytes(range(240, 256))
    with chance("shamir"):
        shares = secret_sharing.split(secret, threshold, members)
    some = dict(list(enumerate(shares))[-threshold:])
    assert secret_sharing.combine(some) == secret
    return {
        "secret": secret.hex(),
        "threshold": threshold,
        "members": members,
        "shares": hashlib.sha256(b"".join(shares)).hexdigest(),
        "last": shares[-1].hex(),
    }


def secure_round(bits):
    """A sum of four: one leaves before its value, and one says it alone."""
    phones = {}
    values = {
        member: (np.array(vector, np.float32), weight)
        for member, (vector, weight) in SUMMANDS.items()
    }
    made = SecureRound(values, bits, ROUND)
    for member, (vector, weight) in values.items():
        with chance(member):
            phone = secure_phone.SecurePhone(
                COHORT, ROUND, member, vector, weight, bits
            )
        made.phones[member] = phone
        phones[member] = {"vector": vector.tolist(), "weight": weight}
    made.keys()
    roster = made.roster
    given = {}
    for member, phone in made.phones.items():
        with later(member):
            given[member] = phone.shares(roster)
        phones[member]["keys"] = phone.keys().hex()
        phones[member]["shares"] = hexed(given[member])
    made.sealed = made.sum.shares(given)
    made.values(gone=(7,))
    for member, masked in made.masked.items():
        phones[member]["masked"] = masked.tobytes().hex()
    summed = made.sum.members
    unmasked = {m: made.phones[m].unmask(summed) for m in summed}
    for member, shares in unmasked.items():
        phones[member]["unmask"] = hexed(shares)
    mean, weight, _ = made.sum.mean(unmasked)
    return {
        "bits": bits,
        "cohort": COHORT,
        "round": ROUND,
        "summed": summed,
        "phones": phones,
        "mean": mean.tolist(),
        "weight": weight,
    }


def layout(batchnorm):
    state = [
        {"name": n, "kind": k, "shape": s, "dtype": "float32", "variable": v}
        for n, k, s, v in STATE
    ]
    found = [tensor for tensor in state if tensor["kind"] != "slot"]
    made = HalfLayout(
        [
            HalfTensor(
                tensor["name"].partition("_")[0],
                *(tensor[key] for key in ("kind", "shape", "variable")),
            )
            for tensor in found
        ],
        batchnorm,
        FROZEN,
    )
    return {
        "batchnorm": batchnorm,
        "state": state,
        "frozen": FROZEN,
        "kept": [found[i]["name"] for i in made.kept],
        "size": made.size,
        "digest": made.digest,
        "statistics": made.statistics,
    }


@contextmanager
def later(member):
    """Goes on where `chance` of a member's three secrets has ended."""
    with chance(member):
        for count in (32, 16, 16):
            secure_phone.secrets.token_bytes(count)
        yield


def hexed(blobs):
    return {str(member): blob.hex() for member, blob in blobs.items()}


def text():
    """The file."""
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
