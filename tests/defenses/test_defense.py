"""Defenses by name."""

import pytest

from keras_split import defenses
from keras_split.defenses.defense import serialize
from keras_split.errors import DefenseError
from tests.defenses.scaled import Scaled


def test_a_defense_is_found_by_name_by_config_and_as_itself():
    noise = defenses.GaussianNoise(0.5, "features_grad")

    assert defenses.get(noise) is noise
    assert isinstance(defenses.get("scaled"), Scaled)
    twin = defenses.get(serialize(noise))
    assert (twin.stddev, twin.where) == (0.5, ("features_grad",))


def test_an_unknown_defense_is_refused_and_the_known_are_named():
    with pytest.raises(DefenseError, match="gaussian_noise.*Received: 'nois'"):
        defenses.get("nois")


@pytest.mark.parametrize(
    "identifier",
    ["clip", {"name": "clip", "config": {"limit": 1.0, "unknown": 2}}],
)
def test_a_name_of_what_needs_arguments_is_refused(identifier):
    with pytest.raises(DefenseError, match=r"Clip\(\.\.\.\)"):
        defenses.Chain([identifier])


def test_a_class_in_place_of_a_defense_is_refused():
    with pytest.raises(DefenseError, match="an object of such a class"):
        defenses.Chain(defenses.Sign)


def test_a_defense_that_nobody_could_load_is_refused():
    class Nameless(defenses.Defense):
        pass

    with pytest.raises(DefenseError, match="not registered"):
        defenses.get(Nameless())


def test_a_name_is_not_given_twice():
    with pytest.raises(DefenseError, match="a name that is free"):

        @defenses.register("identity")
        class Other(defenses.Defense):
            pass


def test_only_defenses_are_registered():
    with pytest.raises(DefenseError, match="subclass of Defense"):
        defenses.register("number")(int)


def test_a_defense_that_does_nothing_says_so_in_words():
    with pytest.raises(DefenseError, match="Expected Defense to say in apply"):
        defenses.Defense().apply(None, None, "smashed")
