"""Files of the net of `tests.links`, exported once for all tests."""

import keras
import pytest

from keras_split.device import Client
from tests import links

RATE = 0.1


def export(client, path, **options):
    """Compiles a client as `links.compile` does and exports it."""
    links.compile(client, keras.optimizers.SGD(RATE, momentum=0.9))
    client.export(path, **{"batch_size": 8, **options})
    client.close()
    return path


class Files(dict):
    """Files that train, by their quantization; exported when asked for."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __missing__(self, name):
        path = self.folder / f"{name}.tflite"
        self[name] = export(links.halves(name)[0], path)
        return self[name]


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Files that train, by their quantization."""
    return Files(tmp_path_factory.mktemp("phone"))


@pytest.fixture
def phone(files):
    """A way to open clients that are closed at the end."""
    opened = []

    def open_(address, name="float32", path=None):
        opened.append(
            Client(path or files[name], address, num_threads=1, retry=None)
        )
        return opened[-1]

    yield open_
    for client in opened:
        client.close()
