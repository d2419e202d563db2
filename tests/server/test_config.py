import numpy as np
import pytest

import keras_split
from keras_split.errors import OptionError
from keras_split.errors import TransportError
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.config import ServerConfig
from keras_split.server.guards import GradientLimits
from keras_split.server.limits import StreamLimits
from keras_split.server.security import Security
from tests import links


def test_by_default_it_is_what_its_parts_are_by_default():
    config = ServerConfig()

    assert config.stream_limits == StreamLimits()
    assert config.gradient_limits == GradientLimits()
    assert config.security == Security()


def test_there_are_as_many_streams_as_sessions_unless_it_is_said():
    assert ServerConfig(max_sessions=8).stream_limits.max_streams == 8
    both = ServerConfig(max_sessions=8, max_streams=3)
    assert both.stream_limits.max_streams == 3


def test_its_parts_have_its_values():
    config = ServerConfig(
        idle_timeout_s=7,
        max_batch=5,
        clip_grad_norm=2.0,
        max_smashed_norm=3,
        hellos_per_s=0,
    )

    assert config.stream_limits == StreamLimits(
        idle_timeout_s=7, hellos_per_s=0
    )
    assert config.gradient_limits == GradientLimits(1e6, 2.0, 5, 3)


def test_options_go_before_the_fields_of_a_config():
    config = ServerConfig(port=1, max_batch=5)

    assert ServerConfig.get(config) == config
    assert ServerConfig.get(config, port=2) == ServerConfig(port=2, max_batch=5)
    assert ServerConfig.get() == ServerConfig()


@pytest.mark.parametrize(
    "name, near",
    [
        ("max_session", "max_sessions"),
        ("checkpoint", "checkpoints"),
        ("hello_timeout", "hello_timeout_s"),
    ],
)
def test_an_option_that_there_is_not_is_named_with_the_nearest(name, near):
    with pytest.raises(OptionError, match="nearest") as info:
        ServerConfig.get(**{name: 1})

    assert isinstance(info.value, TypeError)
    assert str(info.value) == (
        f"Expected an option of ServerConfig. Received: {name}=1. The "
        f"nearest is {near!r}."
    )


def test_something_else_than_a_config_is_refused():
    with pytest.raises(OptionError, match="Received: 50051. Write serve"):
        links.halves()[1].serve(50051)


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("port", -1, "a port, 0 to 65535"),
        ("port", 65536, "a port, 0 to 65535"),
        ("port", "50051", "a port, 0 to 65535"),
        ("max_sessions", 0, "an integer of 1 or more"),
        ("max_sessions", 2.0, "an integer of 1 or more"),
        ("max_batch", True, "an integer of 1 or more"),
        ("checkpoint_every", None, "an integer of 1 or more"),
        ("idle_timeout_s", 0, "a number above 0"),
        ("max_grad_norm", float("nan"), "a number above 0"),
        ("messages_per_s", -1.0, "a number above 0"),
        ("hellos_per_s", -1, "a number of 0 or more"),
        ("address", None, "a name or an IP address"),
        ("security", "tokens.txt", "a keras_split.server.Security"),
        ("insecure", 1, "True or False"),
        ("checkpoints", 3, "the path of a folder"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name, value, expected):
    with pytest.raises(OptionError) as info:
        ServerConfig(**{name: value})

    assert isinstance(info.value, ValueError)
    assert str(info.value) == (
        f"Expected {name} to be {expected}. Received: {value!r}. See "
        "keras_split.ServerConfig for what it means."
    )


def test_numbers_of_numpy_paths_and_infinity_are_taken(tmp_path):
    config = ServerConfig(
        max_batch=np.int64(8),
        hello_burst=np.float32(2),
        max_grad_norm=float("inf"),
        checkpoints=tmp_path,
        max_streams=None,
    )

    assert config.gradient_limits.max_batch == 8


def test_there_is_a_call_for_each_phone_that_is_awaited():
    cohort = CohortConfig("shared", phones=9)

    with pytest.raises(OptionError, match="phones=9 and max_streams=8"):
        ServerConfig(cohort=cohort, max_streams=8)

    assert ServerConfig(cohort=cohort, max_streams=9).cohort == cohort
    personal = CohortConfig("personal", phones=9)
    assert ServerConfig(cohort=personal, max_streams=8).cohort == personal


def test_other_machines_are_told_of_no_port_without_tls(caplog):
    with pytest.raises(TransportError, match="Expected TLS to listen on 0.0"):
        ServerConfig(address="0.0.0.0").read_certificates()

    assert ServerConfig(address="::1").read_certificates() is None
    config = ServerConfig(address="0.0.0.0", insecure=True)
    assert config.read_certificates() is None
    assert "listening on 0.0.0.0 without TLS" in caplog.text


def test_it_is_at_the_door_of_the_package():
    assert keras_split.ServerConfig is ServerConfig
    assert keras_split.server.ServerConfig is ServerConfig


def test_a_server_is_run_as_its_config_says(tmp_path):
    config = ServerConfig(
        port=0, max_streams=3, max_batch=2, checkpoints=tmp_path / "state"
    )

    with links.halves()[1].serve(config, max_streams=4) as running:
        endpoint = running.endpoint

    assert endpoint.limits.max_streams == 4
    assert endpoint.service.max_message_bytes < 1 << 17
    assert list((tmp_path / "state").glob("*.npz"))
