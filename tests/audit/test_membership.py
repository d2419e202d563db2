import dataclasses

import numpy as np
import pytest

from keras_split import audit
from keras_split.audit.membership import member_auc
from keras_split.errors import DataError
from tests.audit.seen import gradients_of
from tests.audit.seen import scene_of
from tests.audit.seen import steps_of

LABELS = np.random.default_rng(1).integers(0, 3, 300)


def features(spread, seed, size=3.0):
    """Of the classes, in their directions, with noise around them."""
    rng = np.random.default_rng(seed)
    return size * np.eye(8)[LABELS] + spread * rng.normal(size=(300, 8))


def trained(rows):
    """The attack, behind a training with these features."""
    gradients = steps_of(gradients_of(LABELS, 3))
    attack = audit.Membership()
    attack.begin(scene_of(3))
    for one, other in zip(gradients, steps_of(rows, "features"), strict=True):
        step = dataclasses.replace(
            one, features=other.features, smashed=other.features
        )
        attack.saw(step)
    attack.end(audit.Leaked(), 1.0)
    return attack


def auc(attack, members, others):
    both = steps_of(np.concatenate([members, others]), "features")
    is_member = np.arange(600) < 300
    return member_auc(attack.guess(both).members, is_member)


def test_members_that_the_features_keep_further_apart_are_told():
    members = features(0.1, 0)

    attack = trained(members)

    assert auc(attack, members, features(0.1, 1, size=0.5)) > 0.99
    assert attack.spent().steps == 1


def test_others_that_are_like_members_are_not_told():
    found = auc(trained(features(1.0, 0)), features(1.0, 2), features(1.0, 1))

    assert abs(found - 0.5) < 0.06


def test_the_last_steps_are_kept_and_no_more():
    attack = audit.Membership(memory=100)
    attack.begin(scene_of(3))
    for step in steps_of(features(1.0, 0), "features"):
        attack.saw(step)

    assert [step.step for step in attack._kept] == [4, 5]


def test_gradients_that_are_all_alike_are_refused():
    attack = audit.Membership()
    attack.begin(scene_of(3))
    for step in steps_of(np.ones((100, 4))):
        attack.saw(step)

    with pytest.raises(DataError, match="all alike"):
        attack.end(audit.Leaked(), 1.0)


def test_a_score_needs_members_and_others():
    assert member_auc(np.array([0.1, 0.9]), np.array([False, True])) == 1.0
    with pytest.raises(DataError, match="2 members of 2"):
        member_auc(np.ones(2), np.ones(2, bool))
