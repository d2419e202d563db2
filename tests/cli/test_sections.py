import click
from click.testing import CliRunner

from keras_split_cli.sections import SectionedCommand
from keras_split_cli.train import train


def test_options_are_shown_in_their_sections_and_what_is_in_none_last():
    @click.command(cls=SectionedCommand, sections={"First": ["b", "none"]})
    @click.option("--a")
    @click.option("--b")
    def command(a, b):
        pass

    shown = CliRunner().invoke(command, ["--help"]).output

    assert shown.index("First:") < shown.index("--b") < shown.index("Other:")
    assert shown.index("Other:") < shown.index("--a")


def test_the_help_of_train_begins_with_what_a_training_needs():
    lines = CliRunner().invoke(train, ["--help"]).output.splitlines()

    first = "\n".join(lines[:40])
    for option in ("--server", "--data", "--epochs", "--resume", "--save"):
        assert f"  {option} " in first
