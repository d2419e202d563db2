"""A cohort without a body: what its parts need to be looked at alone."""

import contextlib
import hashlib
from types import SimpleNamespace

import numpy as np

from keras_split.protocol import vectors
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.protocol.moment import Moment
from keras_split.server.callbacks import ServerCallback
from keras_split.server.cohorts.alarm import Call
from keras_split.server.cohorts.cohort import Cohort
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.mode import Mode

LAYOUT = hashlib.sha256(b"a half").hexdigest()
SIZE = 6


class Bodies:
    """Keeps nothing, and counts how often it was to."""

    moment = Moment()

    def __init__(self):
        self.written = 0

    def turn(self):
        return contextlib.nullcontext()

    def write_cohort(self):
        self.written += 1


class Idle(Mode):
    """Does nothing, and tells who came and went."""

    def __init__(self, *_):
        self.here, self.lost_ones = [], []
        self.progress = {}

    def answer(self, message, member, session):
        return None

    def came(self, member):
        self.here.append(member.number)

    def left(self, member):
        if member.number in self.here:
            self.here.remove(member.number)

    def lost(self, member):
        self.lost_ones.append(member.number)

    def state(self):
        return self.progress

    def load(self, state):
        self.progress = dict(state)


class Alarm:
    """Calls when `sleep` has come to it, in the thread that sleeps."""

    def __init__(self):
        self._now, self._calls = 0.0, []

    def after(self, seconds, call):
        made = Call(self._now + seconds, len(self._calls), call)
        self._calls.append(made)
        return made

    def sleep(self, seconds):
        self._now += seconds
        for due in sorted(c for c in self._calls if c.at <= self._now):
            self._calls.remove(due)
            due.call()  # nothing, if it was cancelled


class Heard(ServerCallback):
    def __init__(self):
        self.told = []

    def enrolled(self, session, member):
        self.told.append(("enrolled", member))

    def away(self, session, member):
        self.told.append(("away", member))


def cohort(members=None, bodies=None, events=None, **options):
    config = CohortConfig(**{"mode": "shared", **options})
    made = members or Members()
    return Cohort(
        config,
        Idle(),
        CohortHalf(),
        made,
        bodies or Bodies(),
        events or Heard(),
    )


def enroll(session="s0", terms=None, size=SIZE, layout=LAYOUT, **more):
    return Enroll(session, terms or AveragingTerms(), size, layout, 8, **more)


def half(session="s0", value=1.0, version=0):
    vector = np.full(SIZE, value, np.float32)
    return PutHalf(session, version, vectors.to_tensors(vector))


def phone(name="s0", client=""):
    """What a cohort sees of a session."""
    return SimpleNamespace(name=name, client=client)


def begun(made, name="s0"):
    """Has a first phone give its half."""
    made.answer(enroll(name), phone(name))
    made.answer(half(name), phone(name))
    return made
