"""A server in this process that can be lost, as if it had been killed."""

import contextlib
import shutil
import threading
import time
from concurrent.futures import Future

import numpy as np

from keras_split.client.retry import Retry
from keras_split.server import CohortConfig
from tests.disturbances import Proxy
from tests.nets import values_of
from tests.server.cohorts.merged_phones import BATCH
from tests.server.cohorts.merged_phones import TERMS
from tests.server.cohorts.merged_phones import Halves
from tests.server.cohorts.merged_phones import Phone
from tests.server.cohorts.merged_phones import compiled
from tests.server.cohorts.merged_phones import data
from tests.server.cohorts.merged_phones import together

SIZES = (11, 17, 23)
# Where numbers lie in memory decides in which order TensorFlow adds them up.
NOISE = 1e-6
RETRY = Retry(give_up_s=30, first_s=0.05, longest_s=0.2)


class LostServer:
    """A server behind a proxy, which goes on from its checkpoints alone.

    What it does after its clients have lost it is lost as well, for its
    folder is put back to what it was then.

    Args:
        make: Makes a body, the same each time.
        folder: Where it keeps its checkpoints.
        watch: Is told of it, and of each server.
        **options: Of `serve`.
    """

    def __init__(self, make, folder, watch=lambda *_: None, **options):
        self._make, self._folder, self._options = make, folder, options
        self._watch = watch
        self._proxy = Proxy(0)
        self.target = self._proxy.target
        self.deaths = 0
        self.start()

    def start(self):
        self.body = self._make()
        self.server = self.body.serve(
            port=0, checkpoints=self._folder, **self._options
        )
        self._watch(self, self.server.endpoint.service)
        self._proxy.port = self.server.port

    def die(self):
        """It is gone, without a last word."""
        self._proxy.port = 0
        self._proxy.cut()
        for body in self.server.endpoint.service._bodies:
            body._checkpointer.wait()  # the copy is to be whole
        kept = self._folder.with_name(f"{self._folder.name}_kept")
        shutil.copytree(self._folder, kept)
        self.server.stop(0.0)
        shutil.rmtree(self._folder)
        kept.rename(self._folder)
        self.deaths += 1

    def kill(self):
        """It dies, and another one is started."""
        self.die()
        self.start()

    def cut(self):
        """Its clients lose their connections."""
        self._proxy.cut()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._proxy.__exit__()
        self.server.stop(0.0)


class Unheard:
    """Kills servers when only some phones have heard something.

    Args:
        kind: Of the replies.
        *heard: So many of them reach their phones, all servers together, and
            then the server is killed; once for each.
    """

    def __init__(self, kind, *heard):
        self._kind, self._due = kind, sorted(heard)
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, lost, service):
        handle = service.handle

        def told(message, *more):
            reply, made = handle(message, *more), Future()
            if isinstance(reply, Future):
                reply.add_done_callback(lambda r: self._pass(r, made, lost))
            else:
                self._pass(reply, made, lost)
            return made

        service.handle = told

    def _pass(self, reply, made, lost):
        if isinstance(reply, Future):
            reply = reply.result()
        if isinstance(reply, self._kind):
            with self._lock:
                dies = bool(self._due) and self._count >= self._due[0]
                if dies:
                    # Replies that come meanwhile are lost as well.
                    self._due.pop(0)
                    self._silent = lost.deaths
                    threading.Thread(target=self._kill, args=[lost]).start()
                self._count += 1
            if dies:
                return
        if self._silent != lost.deaths:
            made.set_result(reply)

    _silent = -1

    @staticmethod
    def _kill(lost):
        time.sleep(0.1)  # the others hear theirs first
        lost.kill()


def config(**options):
    options = {
        "phones": len(SIZES),
        "batch": BATCH,
        "seed": 1,
        "step_deadline_s": 20.0,
    } | options
    return CohortConfig("merged", **options)


@contextlib.contextmanager
def served(
    folder,
    sizes=SIZES,
    every=100,
    watch=lambda *_: None,
    terms=TERMS,
    **options,
):
    """A server that can be lost, and its phones with a half each."""
    x, y = data(sum(sizes))
    ends = np.cumsum(sizes)
    with LostServer(
        lambda: compiled()[2],
        folder,
        watch,
        cohort=config(phones=len(sizes), **options),
        checkpoint_every=every,
    ) as server:
        phones = []
        try:
            for end, n in zip(ends, sizes, strict=True):
                rows = slice(end - n, end)
                _, client, _ = compiled()
                phones.append(
                    Phone(
                        *(server.target, client.contract, x[rows], y[rows]),
                        Halves(client),
                        terms,
                        retry=RETRY,
                    )
                )
            yield server, phones
        finally:
            for phone in phones:
                phone.session.forget()


def trained(folder, steps=10, harm=lambda *_: None, **options):
    """All weights after some merged steps of phones that each go their way.

    Args:
        folder: For checkpoints.
        steps: How many.
        harm: Is told of the server, a phone's number, the step and what the
            phone is about to do: ask, forward or backward.
        **options: Of `served`.
    """
    with served(folder, **options) as (server, phones):

        def train(i):
            phone, seen, step = phones[i], [], -1
            while step < steps - 1:
                harm(server, i, step + 1, "ask")
                share = phone.ask()
                if share.step < 0:
                    phone.taken, phone.epoch = 0, phone.epoch + 1
                    continue
                step = share.step
                # Who only listens may hear twice of a step that was lost.
                if share.count:
                    seen.append((step, share.count))
                    harm(server, i, step, "forward")
                    features = phone.forward(share)
                    harm(server, i, step, "backward")
                    phone.backward(share, features)
                    phone.halves.update()
            return seen

        calls = [lambda i=i: train(i) for i in range(len(phones))]
        done = together(calls, 100)
        half = server.body.half
        assert half.timeline.moment.steps == steps
        for phone, seen in zip(phones, done, strict=True):
            session = server.server.endpoint.service.find(
                phone.session.connection.session
            )
            assert session.next_step == len(seen)
        weights = half.weights()
        for phone in phones:
            weights += values_of(phone.halves.head)
            weights += values_of(phone.halves.tail)
        return done, weights, server.deaths
