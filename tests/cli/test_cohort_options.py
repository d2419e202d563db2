import click
import pytest
from click.testing import CliRunner

from keras_split.server.cohorts.config import CohortConfig
from keras_split_cli.cohort_options import cohort_options
from keras_split_cli.cohort_options import take_cohort


def parse(*arguments):
    found = []

    @click.command()
    @cohort_options
    def command(**options):
        found.append(take_cohort(options))
        assert not options

    result = CliRunner().invoke(command, arguments)
    return found[0] if found else result


def test_without_a_cohort_there_is_none():
    assert parse() is None


def test_what_is_not_said_is_the_default():
    assert parse("--cohort", "personal") == CohortConfig("personal")
    config = CohortConfig("merged", phones=3)
    assert parse("--cohort", "merged", "--phones", "3") == config


def test_each_option_has_its_field():
    config = parse(
        *("--cohort", "merged", "--phones", "5", "--batch", "64"),
        *("--phones-per-step", "4", "--round-phones", "3"),
        *("--step-deadline", "1.5", "--round-deadline", "7"),
        *("--return-deadline", "0"),
        *("--plain-aggregation", "--aggregation-bits", "32"),
        *("--mean", "trimmed-mean", "--trim", "0.2"),
        *("--clip-update-norm", "2", "--clip-gradients", "3"),
        *("--allow-restore", "--cohort-seed", "9"),
    )

    assert config == CohortConfig(
        mode="merged",
        phones=5,
        batch=64,
        phones_per_step=4,
        round_phones=3,
        step_deadline_s=1.5,
        round_deadline_s=7.0,
        return_deadline_s=0.0,
        plain_aggregation=True,
        bits=32,
        mean="trimmed-mean",
        trim=0.2,
        clip_update_norm=2.0,
        clip_gradients=3.0,
        allow_restore=True,
        seed=9,
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--phones", "3"], "Add --cohort merged"),
        (["--plain-aggregation"], "--plain-aggregation alone"),
        (["--cohort", "merged"], "Add --phones 3"),
        (
            ["--cohort", "shared", "--phones", "3", "--batch", "64"],
            "Leave --batch out",
        ),
    ],
)
def test_options_that_say_nothing_alone_are_refused(arguments, text):
    result = parse(*arguments)

    assert result.exit_code == 2 and text in result.output
