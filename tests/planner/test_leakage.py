import numpy as np
import pytest

from keras_split import zoo
from keras_split.errors import CutError
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.planner import candidates_of
from keras_split.planner.leakage import leakages
from keras_split.planner.plan import plan
from tests import nets


def images(model, count=32):
    shape = model.inputs[0].shape[1:]
    return np.random.default_rng(0).normal(size=(count, *shape))


def test_it_is_the_distance_correlation_of_input_and_smashed_data():
    model = nets.residual()
    x = images(model)

    cuts = candidates_of(model).cuts
    found = leakages(model, cuts, x)

    assert all(0 < value <= 1 + 1e-6 for value in found)
    first = [cut.cut[0] for cut in cuts]
    assert len(set(zip(first, found, strict=True))) == len(set(first))


def test_the_model_stays_as_it_is():
    model = nets.residual()
    before = [np.array(v) for v in model.variables]

    leakages(model, candidates_of(model).cuts, images(model))

    for one, other in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_plan_knows_it_where_there_is_data():
    model = nets.plain()

    made = plan(model, data=images(model), optimize="leakage")

    values = [cut.leakage for cut in made.cuts]
    assert values == sorted(values)
    assert f"correlation of {made.best.leakage:.2f}" in made.reason
    limited = plan(model, data=images(model), max_leakage=values[0])
    assert {cut.leakage for cut in limited.cuts} == {values[0]}
    assert plan(model).best.leakage is None


def test_what_cannot_be_known_is_refused():
    model = nets.plain()

    with pytest.raises(OptionError, match="Pass some examples"):
        plan(model, max_leakage=0.5)
    with pytest.raises(OptionError, match="Pass some examples"):
        plan(model, optimize="leakage")
    with pytest.raises(OptionError, match="the model itself"):
        plan(zoo.get("vgg19").candidates(), data=images(model))
    with pytest.raises(OptionError, match="max_leakage"):
        plan(model, data=images(model), max_leakage=2.0)
    with pytest.raises(DataError, match="16 examples"):
        plan(model, data=images(model, 8))
    with pytest.raises(DataError, match="16 examples"):
        plan(model, data=np.zeros((32, 3)))
    with pytest.raises(CutError, match="a leakage of"):
        plan(model, data=images(model), max_leakage=1e-6)
