import subprocess
import sys

import pytest

import keras_split
from keras_split import server

LIGHT = """
import sys
import keras_split
keras_split.server.ServerConfig(port=0)
keras_split.server.Endpoint
heavy = {"tensorflow", "keras", "grpc"} & set(sys.modules)
assert not heavy, heavy
"""


def test_its_names_are_there():
    for name in server.__all__:
        assert getattr(server, name).__name__ == name
    assert keras_split.server is server
    assert dir(server) == server.__all__


def test_others_are_not():
    with pytest.raises(AttributeError, match="'Sever'"):
        server.Sever  # noqa: B018


def test_a_config_and_an_endpoint_load_no_tensorflow_and_no_grpc():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)
