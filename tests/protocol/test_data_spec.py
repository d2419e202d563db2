"""What a model's data must be."""

import json

from keras_split.protocol.data_spec import DataSpec

SPEC = DataSpec(("cat", "dog"), ((0.5, 0.0), (0.0, 0.5)), (-1.0, 1.0))


def test_it_survives_json():
    assert DataSpec.get(json.loads(json.dumps(SPEC.get_config()))) == SPEC
    assert DataSpec.get(SPEC) is SPEC


def test_without_a_config_it_says_nothing():
    assert DataSpec.get(None) == DataSpec()
