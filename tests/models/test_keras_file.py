"""A .keras file that Keras cannot load says why in one short text."""

import shutil
import traceback
import zipfile

import keras
import pytest

import keras_split
from keras_split.errors import DataError
from keras_split.errors import DefenseError
from keras_split.errors import SplitError


@keras.saving.register_keras_serializable("mine")
class Scale(keras.layers.Layer):
    def call(self, x):
        return 2 * x


class Unregistered(keras.layers.Layer):
    def call(self, x):
        return 2 * x


@keras.saving.register_keras_serializable("mine")
def squared(x):
    return x * x


def bare_loss(y, p):
    return keras.losses.mean_squared_error(y, p)


def client(*head, loss=None, **options):
    """A client whose head ends with some layers."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            *head,
            layers.Dense(3, name="first"),
            layers.Dense(3, name="second"),
            layers.Dense(1),
        ]
    )
    half, _ = keras_split.compile(model, ["first", "second"], **options)
    if loss is not None:
        half.compile("sgd", loss)
    return half


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A file that Keras loads."""
    path = tmp_path_factory.mktemp("plain") / "client.keras"
    client().save(path)
    return path


@pytest.fixture
def unknown(monkeypatch):
    """Makes Keras forget what was registered here, as a new process does."""
    for name in ("mine>Scale", "mine>squared"):
        monkeypatch.delitem(keras.saving.get_custom_objects(), name)


def refusal(path, kind=DataError):
    with pytest.raises(kind) as info:
        keras_split.load_model(path)
    text = str(info.value)
    assert len(text) < 900
    # Nor does Python print the error of Keras, with all of its config.
    shown = "".join(traceback.format_exception(info.value))
    assert "config=" not in shown and "object config" not in shown
    return text


def test_unregistered_classes_are_named_with_their_modules(tmp_path, unknown):
    path = tmp_path / "client.keras"
    client(Scale(), keras.layers.Dense(2, activation=squared)).save(path)

    text = refusal(path)

    assert f"'mine>Scale' of the module {__name__}, 'mine>squared'" in text
    assert f"--import {__name__}" in text
    assert "register_keras_serializable" in text
    assert "get_custom_objects" not in text


@pytest.mark.parametrize(
    ("layer", "loss", "name"),
    [(Unregistered(), None, "Unregistered"), (None, bare_loss, "bare_loss")],
)
def test_what_was_saved_unregistered_can_be_made_known(
    tmp_path, monkeypatch, layer, loss, name
):
    path = tmp_path / "client.keras"
    client(*[layer] * (layer is not None), loss=loss).save(path)

    assert f"get_custom_objects()['{name}'] = {name}" in refusal(path)
    monkeypatch.setitem(
        keras.saving.get_custom_objects(), name, globals()[name]
    )

    assert keras_split.load_model(path).head


def test_a_lambda_is_refused_in_words(tmp_path):
    path = tmp_path / "client.keras"
    client(keras.layers.Lambda(lambda x: x + 1)).save(path)

    text = refusal(path)

    assert "a Python lambda" in text
    assert "enable_unsafe_deserialization" in text


def test_what_is_no_keras_file_is_told_apart(tmp_path, plain):
    missing, text, half = (
        tmp_path / f"{name}.keras" for name in ("missing", "text", "half")
    )
    text.write_text("no archive")
    half.write_bytes(plain.read_bytes()[:900])
    weights = tmp_path / "a.weights.h5"
    weights.touch()
    folder = tmp_path / "folder.keras"
    folder.mkdir()

    assert "there is no such file" in refusal(missing)
    assert "damaged" in refusal(text)
    assert "damaged" in refusal(half)
    assert "load_weights" in refusal(weights)
    assert "a folder" in refusal(folder)
    assert "does not end in .keras" in refusal(__file__)


def edited(plain, path, member, edit):
    """The file with one member changed."""
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            content = edit(content) if name == member else content
            if content is not None:
                new.writestr(name, content)
    return path


def test_a_damaged_or_newer_file_is_told_shortly(tmp_path, plain):
    def change(member, edit):
        return refusal(edited(plain, tmp_path / "x.keras", member, edit))

    assert "config.json" in change("config.json", lambda content: None)
    assert "JSONDecodeError" in change("config.json", lambda content: b"{")
    assert "Received: " in change(
        "model.weights.h5", lambda content: content[:999]
    )
    assert "'fresh': 1" in change(
        "config.json", lambda c: c.replace(b'"units"', b'"fresh": 1, "units"')
    )
    other = edited(
        *(plain, tmp_path / "y.keras", "metadata.json"),
        lambda c: c.replace(keras.__version__.encode(), b"9.9.9"),
    )
    assert "Keras 9.9.9 wrote it" in refusal(
        edited(other, tmp_path / "z.keras", "config.json", lambda content: b"{")
    )


def test_a_refusal_of_ours_comes_through_as_it_is(tmp_path, plain):
    noise = keras_split.defenses.GaussianNoise(0.5)
    client(defenses=[noise]).save(tmp_path / "noisy.keras")
    path = edited(
        *(tmp_path / "noisy.keras", tmp_path / "client.keras", "config.json"),
        lambda c: c.replace(b'"gaussian_noise"', b'"never_registered"'),
    )

    assert "'never_registered'" in refusal(path, DefenseError)


def test_what_the_caller_was_handling_is_not_taken_for_the_reason(tmp_path):
    try:
        raise SplitError("before")
    except SplitError:
        assert "no such file" in refusal(tmp_path / "missing.keras")
        (tmp_path / "a.keras").write_bytes(b"")
        shutil.make_archive(str(tmp_path / "b"), "zip", tmp_path, "a.keras")
        (tmp_path / "b.zip").rename(tmp_path / "b.keras")
        assert "config.json" in refusal(tmp_path / "b.keras")


def test_a_loaded_client_finds_its_token_from_another_folder(
    tmp_path, monkeypatch
):
    (tmp_path / "token").write_text("a-token-of-alice")
    monkeypatch.chdir(tmp_path)
    half = client()
    strategy = keras_split.SplitStrategy(
        "grpc://127.0.0.1:1",
        credentials=keras_split.Credentials(token_file="token"),
    )
    half.compile("sgd", "mse", strategy=strategy)
    (tmp_path / "elsewhere").mkdir()
    half.save("client.keras")
    half.save("elsewhere/client.keras")  # the token is not beside it
    monkeypatch.chdir(tmp_path / "elsewhere")

    for path in ("../client.keras", "client.keras"):
        loaded = keras_split.load_model(path)

        route = loaded.strategy.session.route
        assert route.credentials.token() == "a-token-of-alice"
