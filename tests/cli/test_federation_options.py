import json

import click
import pytest
from click.testing import CliRunner

from keras_split.protocol.cohort import CohortInfo
from keras_split_cli.federation_options import Federation
from keras_split_cli.federation_options import federation_options
from keras_split_cli.federation_options import who


def ask(*arguments):
    """What a command with the options takes; else what it prints."""
    found = []

    @click.command()
    @federation_options
    def command(**options):
        found.append(Federation.take(options))
        assert not options

    result = CliRunner().invoke(command, arguments, standalone_mode=True)
    return found[0] if found else result.output


def test_a_phone_is_for_itself_unless_it_says_otherwise():
    assert ask() is None


def test_halves_are_averaged_after_an_epoch_or_some_steps():
    assert ask("--federate") == ask("--federate", "epoch") == Federation(0)
    assert ask("--federate", "5").terms.every == 5


def test_an_optimizer_of_the_average_has_a_rate_and_fields():
    made = ask(
        *("--federate", "--federated-optimizer", "sgd=1,momentum=0.9"),
        *("--keep-batchnorm-local", "--require-secure"),
    )

    described = json.loads(made.terms.optimizer)
    assert described["class_name"] == "SGD"
    assert described["config"] == {"learning_rate": 1.0, "momentum": 0.9}
    assert made.batchnorm == "local" and made.require_secure


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--federate", "0"], "a number of steps"),
        (["--keep-batchnorm-local"], "--federate with"),
        (["--averaged", "weights"], "--federate with"),
        (["--federate", "--federated-optimizer", "best"], "keras.optimizers"),
        (["--federate", "--federated-optimizer", "sgd,eps=1"], "of SGD"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    assert said in " ".join(ask(*arguments).split())


def test_a_line_says_with_whom_a_phone_trains_and_who_sees_its_half():
    merged = CohortInfo("", "merged", 3, 32, secure=True)
    private = CohortInfo("", "private", 2)

    assert "32 examples" in who(merged, Federation(1))
    assert "cannot read" in who(merged, Federation(1))
    assert "after each epoch" in who(private, Federation(0))
    assert "can read this phone's half" in who(private, Federation(0))
