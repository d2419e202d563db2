import dataclasses
import json
import subprocess
import sys

import pytest

import keras_split
from keras_split import zoo
from keras_split.errors import DataError
from scripts import make_candidates


def test_every_preset_has_its_named_cuts_among_its_candidates():
    for name in zoo.names("images"):
        preset = zoo.get(name)
        found = preset.candidates()

        named = {
            name: c for c in found.cuts for name in c.name.split(", ") if name
        }
        assert set(named) == set(preset.cuts)
        for title, cut in preset.cuts.items():
            facts, candidate = cut.facts, named[title]
            phone = candidate.head + candidate.tail
            assert candidate.layers == list(cut.layers)
            assert candidate.smashed == facts.smashed
            assert candidate.features == facts.features
            assert phone.parameters == facts.phone_parameters
            assert phone.multiply_adds == facts.phone_multiply_adds
            assert candidate.body.parameters == facts.server_parameters
            assert candidate.body.multiply_adds == facts.server_multiply_adds


def test_a_preset_is_planned_without_keras():
    code = (
        "import sys, keras_split\n"
        "found = keras_split.zoo.get('inception_resnet_v2').candidates()\n"
        "print(keras_split.plan(found))\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "Next: keras_split.compile(model, cut=[" in done.stdout


def test_candidates_that_are_missing_are_named():
    preset = dataclasses.replace(
        zoo.get("vgg19"), candidates_file="keras_split_zoo:none.json"
    )

    with pytest.raises(DataError, match="candidates of vgg19"):
        preset.candidates()


def test_another_size_is_computed_from_the_model():
    preset = zoo.get("mobilenet_v2")

    found = preset.candidates((32, 32, 3), 5)

    assert found.input_shape == (32, 32, 3)
    assert found.classes == 5
    assert "spliteasy" in {c.name for c in found.cuts}
    plan = keras_split.plan(found)
    assert plan.best.bytes_per_sample < 50_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "vgg19"])
def test_stored_candidates_are_those_of_the_network(name):
    preset = zoo.get(name)
    stored = (make_candidates.FOLDER / f"{name}.json").read_text("utf-8")

    assert json.loads(make_candidates.text(name)) == json.loads(stored)
    assert preset.candidates().model == name
