"""Numbers that are none, wherever an option takes a number."""

import pytest

from tests.cli import commands

SERVE = ("serve", "mobilenet_v2")
TRAIN = ("train", "mobilenet_v2")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("audit",), "--minutes"),
        (("device", "probe"), "--seconds"),
        (("plan", "mobilenet_v2"), "--max-loss"),
        (("simulate", "mobilenet_v2"), "--alpha"),
        (("simulate", "mobilenet_v2"), "--learning-rate"),
        (("status", "127.0.0.1:9"), "--every"),
        ((*SERVE, "--optimizer", "sgd"), "--learning-rate"),
        (SERVE, "--checkpoint-every-mib"),
        (SERVE, "--clip-grad-norm"),
        (SERVE, "--max-unary-mib"),
        (SERVE, "--step-deadline"),
        (TRAIN, "--batchnorm-momentum"),
        (TRAIN, "--retry"),
        (TRAIN, "--validation-split"),
    ],
)
def test_what_is_no_number_is_a_wrong_call(command, option):
    result = commands.run(*command, option, "nan")

    assert result.returncode == 2, result.stderr
    assert f"'{option}': Expected a number that is finite" in result.stderr


def test_infinity_is_a_number_where_there_may_be_no_limit():
    endless = commands.run(
        *(*SERVE, "--max-grad-norm", "inf", "--max-unary-mib", "inf")
    )

    assert endless.returncode == 2
    assert "--max-unary-mib" in endless.stderr
    assert "--max-grad-norm" not in endless.stderr


@pytest.mark.parametrize("seed", [-1, 2**32])
@pytest.mark.parametrize(
    "command", [SERVE, TRAIN, ("audit",), ("simulate", "mobilenet_v2")]
)
def test_a_seed_that_keras_does_not_take_is_a_wrong_call(command, seed):
    result = commands.run(*command, "--seed", seed)

    assert result.returncode == 2, result.stderr
    assert "--seed" in result.stderr
