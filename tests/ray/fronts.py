"""A front whose replicas are in this process, and serve nobody."""

from contextlib import contextmanager
from contextlib import nullcontext

import pytest

from keras_split.ray import replicas
from keras_split.ray import serve
from keras_split.ray import serving
from tests import links
from tests.ray.actors import Actor
from tests.ray.fake_ray import FakeRay


@contextmanager
def front(count=2, **options):
    """`(replicated, actors)`, looked after all the time."""
    actors = [Actor(number) for number in range(count)]
    _, model = links.halves()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replicas, "_EVERY_S", 0.01)
        patch.setattr(
            serving, "runtime", lambda *_, **__: nullcontext(FakeRay(*actors))
        )
        options = {"port": 0, "bodies": "private", **options}
        with serve(model, replicas=count, **options) as replicated:
            yield replicated, actors
