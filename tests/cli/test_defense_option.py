"""`--defense` in words, and as defenses."""

import inspect

import pytest

from keras_split import defenses
from keras_split.errors import DefenseError
from keras_split_cli.defense_option import DEFENSES
from keras_split_cli.defense_option import defenses_of

GAUSSIAN = "gaussian_mechanism:limit=1,sigma=0.5,where=smashed+features_grad"


def test_all_that_are_registered_are_named_with_their_arguments():
    ours = {
        name: cls
        for name, cls in defenses.known().items()
        if cls.__module__.startswith("keras_split.") and name != "identity"
    }

    assert set(ours) == set(DEFENSES)
    for name, cls in ours.items():
        names = inspect.signature(cls).parameters
        assert ", ".join(names) == DEFENSES[name]


def test_several_are_made_in_their_order():
    made = defenses_of((GAUSSIAN, "gradient_noise:sigma=2"), "mobilenet_v2")

    assert made.describe() == [
        {
            "name": "gaussian_mechanism",
            "config": {
                "limit": 1.0,
                "sigma": 0.5,
                "where": ["smashed", "features_grad"],
            },
        },
        {"name": "gradient_noise", "config": {"sigma": 2.0}},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("noise:sigma=1", "Expected a defense: clip, gaussian"),
        ("gradient_noise:1", "NAME:ARG=VALUE"),
        ("gradient_noise:sigma=1,sigma=2", "each argument once"),
        ("gradient_noise:stddev=1", "takes: sigma"),
        ("gradient_noise", "takes: sigma"),
        ("max_norm:sigma=1", "takes: none"),
        ("gradient_noise:sigma=much", "Expected a sigma from 0"),
        ("clip:limit=1,where=labels", "smashed, features_grad"),
    ],
)
def test_what_is_none_is_refused(text, said):
    with pytest.raises(DefenseError, match=said):
        defenses_of((text,), "mobilenet_v2")


def test_a_file_has_its_own():
    with pytest.raises(DefenseError, match="--defense with a preset"):
        defenses_of((GAUSSIAN,), None)

    assert not defenses_of((), None, "folder")


def test_a_training_that_goes_on_has_the_seed_it_began_with(tmp_path):
    folder = tmp_path / "state"

    begun = defenses_of((GAUSSIAN,), "mobilenet_v2", str(folder))
    again = defenses_of((GAUSSIAN,), "mobilenet_v2", str(folder))

    assert again.seed == begun.seed > 0
    assert (folder / "defenses.json").stat().st_mode & 0o077 == 0
    for other in ((), ("gradient_noise:sigma=1",)):
        with pytest.raises(DefenseError, match="began with"):
            defenses_of(other, "mobilenet_v2", str(folder))


def test_a_training_without_defenses_does_not_get_some_later(tmp_path):
    assert not defenses_of((), "mobilenet_v2", str(tmp_path))
    (tmp_path / "epoch-000001.weights.h5").touch()

    assert not defenses_of((), "mobilenet_v2", str(tmp_path))
    with pytest.raises(DefenseError, match="began with"):
        defenses_of((GAUSSIAN,), "mobilenet_v2", str(tmp_path))
