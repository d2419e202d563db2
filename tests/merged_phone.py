"""A phone of a merged cohort in a process of its own, which can be killed.

    python -m tests.merged_phone FOLDER NUMBER OPTIONS

It prints "ready", and with the next line it goes on from its state in FOLDER,
or begins; when it is in the cohort it prints "enrolled", and at the end "done".
It knows neither Keras nor TensorFlow: a head and a tail of one layer each.
Before each message it keeps what that is made of, and after each reply what it
has learned, so it takes a step once, whenever it is killed. OPTIONS as JSON:
`target`, `steps` of the cohort, and `every`; 0 to average gradients.
"""

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_split.client.cohort import CohortClient
from keras_split.client.replay_log import ReplayLog
from keras_split.client.retry import Retry
from keras_split.client.rounds import Rounds
from keras_split.client.session import ClientSession
from keras_split.compression.tensors import CutTensor
from keras_split.errors import RefusedError
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.contract import Contract
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Hello
from keras_split.transports import Route

RETRY = Retry(give_up_s=600, first_s=0.05, longest_s=0.3)
SGD = '{"class_name": "SGD", "config": {"learning_rate": 0.05}}'
RATE = np.float32(0.05)
HEAD, WIDTH, CLASSES = (4, 5), 6, 3
SIZES = (20, 5, 18, 3)


class Half:
    """Head and tail: weights of two dense layers, one vector."""

    size = sum(SIZES)
    layout = "0" * 64
    statistics = False

    def __init__(self, vector):
        self.vector = vector

    def get(self):
        return self.vector.copy()

    def set(self, vector):
        self.vector = vector.copy()

    @property
    def parts(self):
        a, b, c, d = np.split(self.vector, np.cumsum(SIZES)[:-1])
        return a.reshape(HEAD), b, c.reshape(WIDTH, CLASSES), d

    def smashed(self, x):
        kernel, bias, _, _ = self.parts
        return np.tanh(x @ kernel + bias)

    def tail(self, features, y):
        """Gradients of features and tail, of the mean cross-entropy."""
        _, _, kernel, bias = self.parts
        logits = features @ kernel + bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        p /= np.float32(len(y))
        return p @ kernel.T, [(features.T @ p).ravel(), p.sum(axis=0)]

    def head(self, x, grad):
        """Gradients of the head."""
        inner = grad * (1 - self.smashed(x) ** 2)
        return [(x.T @ inner).ravel(), inner.sum(axis=0)]


class Phone:
    """Goes on wherever it was."""

    def __init__(self, folder, number, options):
        self.path = folder / f"phone_{number}.state"
        self.steps, self.every = options["steps"], options["every"]
        with np.load(folder / f"data_{number}.npz") as data:
            self.x, self.y, start = data["x"], data["y"], data["start"]
        config = json.loads((folder / "contract.json").read_text())
        self.contract = Contract.from_config(config)
        self.half = Half(start)
        # Where it is: what it does next, and with what.
        self.at = {"taken": 0, "epoch": 0, "stage": "ask", "seen": []}
        self.session = ClientSession(
            Route.to(f"grpc://{options['target']}"), overlap=False, retry=RETRY
        )
        if self.path.exists():
            self._load()
        else:
            self.session.connect(self.contract, SGD)
            self._join()
            self.cohort.enroll()
            self.save()

    def run(self):
        while self.at["stage"] != "done":
            getattr(self, f"_{self.at['stage']}")()
        self.session.close()

    # -- what it does, each as often as needed --------------------------------

    def _ask(self):
        if self.every:
            self.rounds.begin()
            self.save()
        left = len(self.x) - self.at["taken"]
        share = self.cohort.share(left, self.at["epoch"])
        if share.step < 0:
            self.next("ask", taken=0, epoch=self.at["epoch"] + 1)
        else:
            stage = "forward" if share.count else "average"
            self.next(stage, share=share, gradient=None)

    def _forward(self):
        x, _ = self._rows()
        try:
            (features,), _ = self.session.forward(self._smashed(x))
        except RefusedError as error:
            self._late(error)
            return
        self.next("backward", features=features)

    def _backward(self):
        x, y = self._rows()
        session = self.session
        merged = session.connection.merged
        session._forward = Forward(
            session.connection.session,
            session.next_step,
            self._smashed(x),
            merged=merged,
        )
        features = self.at["features"]
        grad, tail = self.half.tail(features.codes.reshape(features.shape), y)
        spec = self.contract.features[0]
        try:
            (back,) = session.backward([_cut(spec.name, grad)], float(RATE))
        except RefusedError as error:
            self._late(error)
            return
        head = self.half.head(x, back.codes.reshape(back.shape))
        gradient = np.concatenate([*head, *tail]).astype("float32")
        share = self.at["share"]
        if self.every:
            self.half.set(self.half.vector - RATE * gradient)
            self.rounds.trained(share.count)
        self.next(
            "average",
            gradient=gradient,
            taken=self.at["taken"] + share.count,
            seen=[*self.at["seen"], (share.step, share.count)],
        )

    def _average(self):
        share, gradient = self.at["share"], self.at["gradient"]
        if self.every:
            if (share.step + 1) % self.every == 0:
                self.rounds.end()
        else:
            weight = 0.0 if gradient is None else float(share.count)
            if gradient is None:
                gradient = np.zeros(self.half.size, np.float32)
            try:
                mean = self.cohort.average(share.step, gradient, weight)
                self.half.set(self.half.vector - RATE * mean)
            except RefusedError as error:
                if error.reason != "late":
                    raise  # the half of the others comes with the next step
        self.next("done" if share.step >= self.steps - 1 else "ask")

    def _late(self, error):
        if error.reason != "late":
            raise error
        self.next("average", gradient=None)

    # -- what it keeps ---------------------------------------------------------

    def next(self, stage, **changes):
        self.at |= {"stage": stage, **changes}
        self.save()

    def save(self):
        connection, rounds = self.session.connection, self.rounds
        kept = {
            "at": self.at,
            "half": self.half.vector,
            "next_step": self.session.next_step,
            "connection": {
                name: getattr(connection, name)
                for name in ("session", "cohort", "merged", "moment")
            },
            "cohort": {
                name: getattr(self.cohort, name)
                for name in ("version", "member", "_seen")
            },
            "rounds": {
                name: getattr(rounds, name)
                for name in ("_start", "_round", "_examples", "steps")
            },
            "log": [
                (step.step, step.messages)
                for step in connection.replay_log._steps
            ],
        }
        new = self.path.with_suffix(".new")
        new.write_bytes(pickle.dumps(kept))
        new.rename(self.path)

    def _load(self):
        kept = pickle.loads(self.path.read_bytes())
        self.at = kept["at"]
        self.half.set(kept["half"])
        session, connection = self.session, self.session.connection
        session.next_step = kept["next_step"]
        vars(connection).update(kept["connection"])
        connection._hello = Hello(self.contract, SGD)
        log = ReplayLog(RETRY.memory_bytes, RETRY.disk_bytes)
        for step, messages in kept["log"]:
            log.add(step, messages)
        connection.replay_log = log
        self._join()
        vars(self.cohort).update(kept["cohort"])
        vars(self.rounds).update(kept["rounds"])

    def _join(self):
        terms = AveragingTerms(self.every)
        if not self.every:
            terms = replace(terms, every=1, what="gradients")
        self.cohort = CohortClient(self.session, terms, self.half, len(self.x))
        self.rounds = Rounds(self.cohort, self.half)

    def _rows(self):
        first = self.at["taken"]
        rows = slice(first, first + self.at["share"].count)
        return self.x[rows], self.y[rows]

    def _smashed(self, x):
        spec = self.contract.smashed[0]
        return [_cut(spec.name, self.half.smashed(x))]


def _cut(name, values):
    values = np.ascontiguousarray(values, np.float32)
    return CutTensor(name, values.shape, values.reshape(len(values), -1))


def main():
    folder, number, options = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    phone = Phone(Path(folder), int(number), json.loads(options))
    print("enrolled", flush=True)
    phone.run()
    print("done", flush=True)


if __name__ == "__main__":
    main()
