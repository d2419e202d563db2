"""Bodies without TensorFlow, in replicas that die and come back."""

import threading

import numpy as np

from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.timeline import Timeline
from keras_split.ray.averaged_body import AveragedBody
from keras_split.ray.replica import Look
from keras_split.server.fair_lock import FairLock
from tests.ray.fake_ray import Hangs
from tests.ray.fake_ray import Method
from tests.ray.fake_ray import RayError
from tests.ray.fake_ray import RayTaskError


class Half:
    """A weight, a moving variance and a counter."""

    def __init__(self):
        self.lock = threading.RLock()
        self.timeline, self.data = Timeline(), DataDigest()
        self.body = self
        self.variables = [
            np.zeros(2, "float32"),
            np.ones(2, "float32"),
            np.zeros(1, "int64"),
        ]

    @property
    def trainable_variables(self):
        return self.variables[:1]

    def weights(self):
        return [variable.copy() for variable in self.variables]

    def set_weights(self, values):
        for variable, value in zip(self.variables, values, strict=True):
            variable[:] = value


class StillBody:
    """A body that learns what it is told; its checkpoint is its memory."""

    def __init__(self):
        self.half, self.turns = Half(), FairLock()
        self.steps, self.written = 0, None
        self.full = False
        self.averaged = AveragedBody(self, lambda kept: kept.reference[0].value)

    def learn(self, by, variance=1.0):
        weight, moved, counter = self.half.variables
        weight += np.float32(by)
        moved[:], counter[:] = variance, counter + 1
        self.half.timeline = self.half.timeline.stepped()
        self.steps += 1

    def make_durable(self, *, anyway):
        if self.full:
            raise RayTaskError(OSError("no space"))
        self.write()

    def write(self):
        self.written = self.half.weights(), self.half.timeline

    def restart(self):
        """Another process goes on from the checkpoint, if there is one."""
        values, timeline = self.written or (Half().weights(), Timeline())
        self.half.set_weights(values)
        self.half.timeline = Timeline.from_config(timeline.get_config())
        self.steps = 0

    @property
    def weight(self):
        return float(self.half.variables[0][0])


class BodyActor:
    """A replica with such a body."""

    def __init__(self, number=0):
        self.body, self.number, self.process = StillBody(), number, 1
        self.dies_in, self.hangs_in, self.dead = "", "", False
        self.give = self._method("give", self.body.averaged.give)
        self.take = self._method("take", self.body.averaged.take)

    def look(self):
        return Look(
            f"h{self.number}:1",
            (),
            ServerStatus(
                "f",
                steps=self.body.steps,
                moment=self.body.half.timeline.moment,
            ),
            self.process,
            learned=self.body.half.timeline.learned,
        )

    def come_back(self, missed):
        self.body.restart()
        self.dead, self.dies_in, self.process = False, "", self.process + 1
        if missed is not None:
            self.body.averaged.take(*missed)

    def _method(self, name, call):
        def answer(*arguments):
            if self.dead or self.dies_in == name:
                self.dead = True
                raise RayError("the actor died")
            if self.hangs_in == name:
                raise Hangs()
            return call(*arguments)

        return Method(answer)
