"""What tests of browsers share: pages, and what is shown to them."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from tests.web.browser import build_page
from tests.web.browser import build_phone

SIDE = 48


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """Folder of the page and the dashboard, as they ship."""
    folder = tmp_path_factory.mktemp("page")
    build_page(folder)
    return folder


@pytest.fixture(scope="session")
def phone_page(tmp_path_factory):
    """Folder of the page of tests: a phone that does what it is told."""
    folder = tmp_path_factory.mktemp("phone_page")
    build_phone(folder)
    return folder


@pytest.fixture(scope="session")
def page_halves(tmp_path_factory):
    """Folder with both halves of a net that takes photos."""
    image = keras.Input((24, 24, 3), name="image")
    x = layers.Conv2D(6, 3, strides=2, activation="relu", name="first")(image)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, layers.Dense(4, activation="softmax")(x))
    client, server = keras_split.compile(model, ["first", "second"])
    client.data_spec = keras_split.DataSpec.of(lambda x: x / 127.5 - 1.0)
    client.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    folder = tmp_path_factory.mktemp("page_halves")
    client.export(folder / "client.tflite", batch_size=8)
    server.save(folder / "server.keras")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """What the camera sees, and files: one red and smooth, the others blue."""
    pillow = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    files = []
    for index in range(11):
        pixels = rng.integers(0, 90, (SIDE, SIDE, 3), np.uint8)
        pixels[..., 2] += 150
        files.append(str(folder / f"{index}.png"))
        pillow.fromarray(pixels).save(files[-1])
    video = folder / "camera.y4m"
    luma = np.full((120, 160), 80, np.uint8) + np.arange(160, dtype=np.uint8)
    blue, red = (np.full((60, 80), value, np.uint8) for value in (90, 220))
    frame = b"FRAME\n" + b"".join(map(bytes, (luma, blue, red)))
    head = b"YUV4MPEG2 W160 H120 F25:1 Ip A1:1 C420jpeg\n"
    video.write_bytes(head + 10 * frame)
    return str(video), files
