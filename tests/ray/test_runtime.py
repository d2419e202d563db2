"""What Ray says where it is started."""

import pytest

from keras_split.ray import runtime


def test_that_ray_asks_for_tokens_is_no_warning(capsys):
    pytest.importorskip("ray")
    from ray._private.authentication import authentication_token_setup as setup

    with runtime._calm():
        setup._warn_token_auth_enabled()
        while_calm = capsys.readouterr().err
        setup._warn_token_auth_disabled()

    assert while_calm == ""
    assert "Token authentication is disabled" in capsys.readouterr().err
