"""`--import` makes code of the user's own known before a model is loaded."""

import sys

import keras
import pytest

import keras_split
from keras_split.errors import BackendError
from keras_split_cli.imports import import_all
from tests.cli import commands

MINE = """
import keras

@keras.saving.register_keras_serializable("mine_{0}")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to call commands in; what is imported there is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(
            tmp_path
        ) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_a_class_of_the_current_folder_is_known_to_commands(here):
    (here / "my_doubled.py").write_text(MINE.format("a"))
    import_all(("my_doubled",))
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            sys.modules["my_doubled"].Doubled(),
            layers.Conv2D(2, 3, name="first"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    client, _ = keras_split.compile(model, ["first", "pool"])
    client.save("client.keras")
    keras.saving.get_custom_objects().pop("mine_a>Doubled")
    del sys.modules["my_doubled"]
    command = ["export", "client.keras", "--mode", "infer", "-o", "out"]

    without = commands.run(*command)
    result = commands.run(*command, "--import", "my_doubled")

    assert without.returncode == 1
    assert "--import my_doubled" in without.stderr
    assert "'mine_a>Doubled'" in without.stderr
    assert len(without.stderr) < 1000
    assert result.returncode == 0, result.stderr
    assert (here / "out/client.tflite").exists()


@pytest.mark.parametrize(
    "command",
    [
        *("serve", "train", "export", "join", "audit"),
        *("evaluate", "predict", "plan"),
    ],
)
def test_each_command_that_loads_a_model_takes_it(command):
    result = commands.run(command, "--help")

    assert "--import MODULE" in result.stdout


def refusal(name):
    with pytest.raises(BackendError) as info:
        import_all((name,))
    return str(info.value)


def test_a_module_that_cannot_be_imported_is_told_in_our_words(here):
    (here / "broken.py").write_text("x = 1\nx.nothing\n")
    (here / "no_python.py").write_text("def f(:\n")
    (here / "wants.py").write_text("import not_there_at_all\n")
    (here / "ends.py").write_text("raise SystemExit(3)\n")

    assert f"there is none in {here}" in refusal("nowhere")
    assert f"there is none in {here}" in refusal("nowhere.below")
    assert f"{here / 'broken.py'}, line 2" in refusal("broken")
    assert "no_python.py, line 1" in refusal("no_python")
    assert "No module named 'not_there_at_all'" in refusal("wants")
    assert f"{here / 'wants.py'}, line 1" in refusal("wants")
    assert "SystemExit: 3" in refusal("ends")
    for name in ("broken.py", "./broken.py", str(here / "broken.py")):
        text = refusal(name)
        assert f"in {here} and" in text and "--import broken" in text
    assert "there is none" in refusal("")
    assert "there is none" in refusal(".broken")
