"""A mode whose rounds and shares are the simplest that there can be."""

import numpy as np

from keras_split.protocol import vectors
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import RoundBegun
from keras_split.protocol.cohort_messages import Share
from keras_split.server.cohorts import modes
from keras_split.server.cohorts.gathering import Gathering
from keras_split.server.cohorts.mode import Mode


class FakeMode(Mode):
    """Averages what `phones` phones give; draws shares for one."""

    def __init__(self, config, members, half, bodies, events):
        self.config, self.half = config, half
        self.step = -1
        self.gatherings = {}
        self.asked, self.weights = [], []

    def answer(self, message, member, session):
        if isinstance(message, AskShare):
            self.asked.append(message)
            count = min(self.config.batch, message.left)
            if not count:
                return Share(-1, 0, version=self.half.version)
            self.step += 1
            return Share(self.step, count, [0], version=self.half.version)
        if isinstance(message, BeginRound):
            version, tensors = self.half.since(message.version)
            return RoundBegun(version, version, tensors)
        if isinstance(message, Contribution):
            self.weights.append(message.weight)
            gathering = self.gatherings.setdefault(
                message.round,
                Gathering(
                    range(self.config.phones), 5, self.close, "contributions"
                ),
            )
            return gathering.give(member.number, message)
        return None

    def close(self, given):
        weights = [float(given[k].weight) for k in given]
        values = [
            vectors.from_tensors(m.tensors, m.tensors[0].codes.size)
            for m in given.values()
        ]
        if not any(weights):
            weights = None  # all only listen: nothing moves
        average = np.average(values, 0, weights).astype("float32")
        version = self.half.version + 1
        if average.size == self.half.vector.size:
            self.half.put(version, self.half.vector + average)
        else:
            self.half.version = version
        reply = Gathered(
            *(next(iter(given.values())).round, "value"),
            version=version,
            tensors=vectors.to_tensors(average),
        )
        return dict.fromkeys(given, reply)

    def came(self, member):
        pass

    def left(self, member):
        pass

    def lost(self, member):
        pass


def install(monkeypatch):
    """Every mode is this one; the list is of those that were made."""
    made = []

    def make(*args):
        made.append(FakeMode(*args))
        return made[-1]

    for name in ("merged", "private", "shared"):
        monkeypatch.setitem(modes._MODES, name, make)
    return made
