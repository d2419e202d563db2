import dataclasses
import json

from keras_split.audit.alarms import HONEST
from keras_split.audit.alarms import Alarms
from keras_split.audit.alarms import Encounter

MET = (
    Encounter("FSHA", 6, 6, (("after", 0.1), ("after", 0.2)), 0.3),
    Encounter(HONEST, 56, None, (("after", 1.0),)),
    Encounter("FSHA by a half", 56, None),
    Encounter(HONEST, 9, 9),
    Encounter("FSHA", 8, 8),
    Encounter(HONEST, 56, None),
)


def test_rates_are_of_hijackers_told_and_of_honest_ones_taken_for_one():
    found = Alarms(MET, epoch=100)

    assert found.true_rate == 2 / 3 and found.false_rate == 1 / 3
    assert [e.told for e in found.of("FSHA")] == [6, 8]
    assert found.servers == ["FSHA", "FSHA by a half", HONEST]


def test_without_encounters_there_is_no_rate():
    found = Alarms((), 100, "Expected 4 bits or more.")

    assert found.true_rate is None and found.false_rate is None


def test_it_is_the_same_after_json():
    found = Alarms(MET, epoch=100)

    config = json.loads(json.dumps(found.get_config()))

    assert Alarms.from_config(config) == found
    assert config["true_positive_rate"] == 2 / 3
    assert dataclasses.replace(found, refused="no") != found
