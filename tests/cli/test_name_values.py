import click
import pytest

from keras_split_cli import name_values


def test_a_name_may_have_an_equals_sign_in_it():
    assert name_values.parse("a=b=2") == [("a=b", 2.0)]


@pytest.mark.parametrize(
    "text", ["", "a,,b", "=2", "a=", "a=x", "a=nan", "a,a"]
)
def test_what_cannot_be_understood_is_a_wrong_call(text):
    with pytest.raises(click.BadParameter, match="Received: "):
        name_values.parse(text)
