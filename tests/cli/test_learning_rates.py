import click
import keras
import pytest

from keras_split_cli.learning_rates import LearningRates
from keras_split_cli.learning_rates import LearningRatesType
from tests.cli.commands import run


def read(text):
    return LearningRatesType().convert(text, None, None)


def test_one_number_is_that_of_all():
    optimizer = keras.optimizers.SGD(0.5)

    multipliers = read("1e-3").given_to(optimizer)

    assert multipliers == {}
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)


def test_parts_have_multiples_of_the_rate_of_the_body():
    optimizer = keras.optimizers.Adam()

    multipliers = read("head=1e-4, body=1e-3,tail=1e-2").given_to(optimizer)

    assert multipliers == pytest.approx({"head": 0.1, "tail": 10})
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)


def test_of_which_nothing_is_said_has_the_optimizer_s_own():
    optimizer = keras.optimizers.SGD(0.5)

    assert read("head=1").given_to(optimizer) == {"head": 2}
    assert float(optimizer.learning_rate) == 0.5
    assert read("body=1").given_to(optimizer) == {"head": 0.5, "tail": 0.5}
    assert float(optimizer.learning_rate) == 1


def test_a_model_without_a_tail_needs_no_rate_for_it():
    rates = read("body=1")

    optimizer = keras.optimizers.SGD(0.5)
    assert rates.given_to(optimizer, has_tail=False) == {"head": 0.5}
    # Who names one is told by `client.compile` that there is none.
    assert "tail" in read("tail=2").given_to(optimizer, has_tail=False)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("fast", "'fast'"),
        ("0", "'0'"),
        ("nan", "'nan'"),
        ("inf", "'inf'"),
        ("neck=1", "'neck=1'"),
        ("head=1,head=2", "'head=2'"),
        ("head=", "''"),
        ("head=1,", "''"),
    ],
)
def test_what_is_none_is_named(text, word):
    with pytest.raises(click.BadParameter, match="Expected") as error:
        read(text)

    assert word in error.value.message


def test_rates_that_were_read_stay():
    rates = LearningRates(head=1.0)

    assert LearningRatesType().convert(rates, None, None) is rates


def test_a_server_s_rate_needs_an_optimizer_of_its_own():
    result = run("serve", "mobilenet_v2", "--learning-rate", "0.1")

    assert result.returncode == 2
    assert "--optimizer" in result.stderr


def test_an_optimizer_that_keras_does_not_know_is_a_wrong_call():
    result = run(
        *("serve", "mobilenet_v2", "--input-size", 32, "--cut", "light"),
        *("--optimizer", "warp"),
    )

    assert result.returncode == 2
    assert "'warp'" in result.stderr
