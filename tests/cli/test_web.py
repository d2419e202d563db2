"""`serve --web`: what it wants to be told, and how it says that."""

import pytest
from click.testing import CliRunner

from keras_split_cli.serve import serve as command


def serve(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exit_code != 0
    return result.output + str(result.exception)


@pytest.mark.parametrize("option", ["--web-client", "--web-name"])
def test_options_of_browsers_want_the_port(option):
    said = serve("mobilenet_v2", option, "x.tflite")

    assert f"Received: {option} alone" in said


def test_a_body_of_a_file_wants_the_phones_half(tmp_path):
    said = serve(tmp_path / "server.keras", "--web", 0)

    assert "--web-client CLIENT.TFLITE" in said
    assert "keras-split export" in said


def test_a_half_that_is_not_there_is_told_before_keras_is_loaded(tmp_path):
    said = serve("a.keras", "--web", 0, "--web-client", tmp_path / "c.tflite")

    assert "Expected c.tflite and c.json in one folder" in said
