"""What Ray says where it is started."""

import logging
import logging.handlers
import queue

import pytest

from keras_split.ray import runtime


@pytest.fixture
def said():
    """What the logger that has the lines on tokens lets through."""
    logger, lines = logging.getLogger(runtime._AUTHENTICATION), queue.Queue()
    handler = logging.handlers.QueueHandler(lines)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    yield lambda: [
        lines.get_nowait().getMessage() for _ in range(lines.qsize())
    ]
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_that_ray_asks_for_tokens_is_no_warning(said):
    pytest.importorskip("ray")
    from ray._private.authentication import authentication_token_setup as setup

    with runtime._calm():
        setup._warn_token_auth_enabled()
        while_calm = said()
        setup._warn_token_auth_disabled()

    assert while_calm == []
    assert "Token authentication is disabled" in str(said())
