import pytest

from keras_split.errors import OptionError
from keras_split.server.cohorts import who_sees_what
from keras_split.server.cohorts.config import MOST_SECURE
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.config import ServerConfig


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("personal", {"mode": "relay"}),
        ("with merged steps", {"mode": "shared", "phones_per_step": 2}),
        ("with merged steps", {"mode": "private", "clip_gradients": 2.0}),
        ("an example each", {"batch": 2, "phones": 9, "phones_per_step": 3}),
        ("as many are there", {"phones": 2, "phones_per_step": 3}),
        ("as many are there", {"mode": "shared", "round_phones": 3}),
        ("plain_aggregation=True", {"phones": 3, "mean": "median"}),
        ("plain_aggregation=True", {"phones": 3, "clip_update_norm": 1.0}),
        ("trim", {"trim": 0.5}),
        ("mean='trimmed-mean'", {"trim": 0.2}),
        ("mean='median', which", {"mean": "median", "trim": 0.2}),
        ("nothing would be learned", {"clip_gradients": 0}),
        ("step_deadline_s", {"step_deadline_s": float("inf")}),
        ("seed", {"seed": -1}),
        ("500 phones or fewer", {"mode": "shared", "phones": 501}),
        ("500 phones or fewer", {"phones": 501}),
        ("allow_restore", {"allow_restore": "no"}),
    ],
)
def test_what_does_not_go_together_is_refused_at_once(text, options):
    with pytest.raises(OptionError, match=text):
        CohortConfig(**options)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("one body", {"bodies": "private"}),
        ("max_sessions=2", {"max_sessions": 2}),
        ("max_batch", {"max_batch": 16}),
        ("cohort='merged'", {"inference_only": True}),
    ],
)
def test_a_server_has_what_its_cohort_needs(text, options):
    with pytest.raises(OptionError, match=text):
        ServerConfig(cohort=CohortConfig(phones=3), **options)


def test_a_private_cohort_has_private_bodies_whatever_was_said():
    config = CohortConfig("private")

    assert ServerConfig(cohort=config).kind_of_bodies == "private"
    both = ServerConfig(cohort=config, bodies="private")
    assert both.kind_of_bodies == "private"
    assert ServerConfig(bodies="private").kind_of_bodies == "private"
    assert ServerConfig(cohort=CohortConfig()).kind_of_bodies == "shared"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("no single phone's half", {"phones": 3}),
        ("sees each phone's.", {"phones": 3, "plain_aggregation": True}),
        ("fewer than 3 phones", {"phones": 2}),
        ("on purpose", {"mode": "personal"}),
        ("turn the body back", {"allow_restore": True}),
    ],
)
def test_phones_are_told_who_sees_what(text, options):
    assert text in who_sees_what.notice(CohortConfig(**options))


def test_without_a_cohort_there_is_nothing_to_tell():
    assert who_sees_what.notice(None) == ""


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "shared", "plain_aggregation": True},
        {"mode": "private", "round_phones": MOST_SECURE},
        {"mode": "personal"},
    ],
)
def test_many_phones_are_no_many_in_a_sum_under_masks(options):
    CohortConfig(phones=MOST_SECURE + 1, **options)
