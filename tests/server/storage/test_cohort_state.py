import numpy as np

from keras_split.server.storage import cohort_state
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.checkpoints import HostState
from keras_split.server.storage.cohort_state import CohortState
from tests.server.cohorts import fakes

WEIGHTS = [np.arange(3.0, dtype=np.float32)]


def test_a_cohort_is_kept_with_the_body(tmp_path):
    cohort = fakes.begun(fakes.cohort())
    cohort.mode.progress = {
        "round": 3,
        "seeds": [1, 2],
        "slots": [np.arange(4, dtype=np.uint64), np.zeros((2, 2))],
        "members": {"0": {"left": 5}},
    }
    kept = Checkpoints(tmp_path)

    kept.save(HostState("f", WEIGHTS, (), (), cohort=cohort.state()))
    found = kept.load("f")[0].cohort

    expected = cohort.state()
    for name in ("mode", "members", "terms", "size", "layout", "given_by"):
        assert getattr(found, name) == getattr(expected, name), name
    np.testing.assert_array_equal(found.half, expected.half)
    for key, value in cohort.mode.progress.items():
        np.testing.assert_equal(found.progress[key], value)


def test_a_checkpoint_without_a_cohort_has_none(tmp_path):
    kept = Checkpoints(tmp_path)

    kept.save(HostState("f", WEIGHTS, (), ()))

    assert kept.load("f")[0].cohort is None


def test_fields_of_a_later_version_are_passed_over():
    values = cohort_state.to_arrays(CohortState("shared", {}), {})

    found = cohort_state.from_arrays({**values, "later": 1}, {})

    assert found.mode == "shared"
