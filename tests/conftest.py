"""Makes every test start from the same state."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import pytest

from keras_split.client import open_sessions
from tests.certificates import pki as pki

# A package of its own, whose import registers things that other tests then
# would run over.
collect_ignore = ["extending"]


def pytest_configure(config):
    """Imports Keras, before warnings are errors.

    The process that shares out the tests needs none, and the others wait for
    it.
    """
    works = hasattr(config, "workerinput")
    if works or not config.getoption("numprocesses", None):
        import keras  # noqa: F401


@pytest.fixture(autouse=True)
def fresh():
    """The same random numbers for each test; no session outlives it."""
    import keras

    keras.utils.set_random_seed(0)
    yield
    open_sessions.close_all()
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True, scope="module")
def tidy():
    """Models and their graphs are cycles, and large ones.

    What is left then, TensorFlow keeps for good; looking through it again and
    again took a tenth of the time.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def serve():
    """Serves a server model on a free port and returns a way to reach it."""
    from keras_split import SplitStrategy

    servers = []

    def start(server, **limits):
        servers.append(server.serve(port=0, **limits))
        return SplitStrategy(f"grpc://{servers[-1].target}", retry=None)

    yield start
    open_sessions.close_all()
    for server in servers:
        server.stop(0)
