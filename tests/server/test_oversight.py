import pytest

from keras_split.errors import DataError
from keras_split.errors import RefusedError
from keras_split.server.callbacks import Caller
from keras_split.server.endpoint import Endpoint
from keras_split.server.oversight import Oversight
from keras_split.server.security import Security

ALICE, MINE = "a-token-of-alice", "a-token-of-the-operator"
ANN = Caller("ann", "ipv4:10.0.0.2:4000")
OPERATOR = Caller("", "ipv4:10.0.0.2:4001", operator=True)


def write(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def over(tmp_path):
    """`over(token)`, and whom it refused in `over.refused`."""

    def over(token=MINE):
        path = token and write(tmp_path / "mine", token)
        return Oversight(
            Security(operator_token=path),
            lambda token: token == ALICE,
            over.refused.append,
        )

    over.refused = []
    return over


def test_without_a_token_of_the_operators_all_may_see(over):
    oversight = over(None)

    oversight.check_operator(ANN)
    oversight.check_client(ANN)

    assert not oversight.is_operator(MINE)
    assert over.refused == []


def test_the_operator_looks_on_and_does_nothing_else(over):
    oversight = over()

    oversight.check_operator(OPERATOR)
    with pytest.raises(RefusedError, match="lets nobody train") as info:
        oversight.check_client(OPERATOR)

    assert info.value.reason == "permission"
    assert over.refused == [OPERATOR]


def test_a_client_trains_and_does_not_look_on(over):
    oversight = over()

    oversight.check_client(ANN)
    with pytest.raises(RefusedError, match="serve --operator-token") as info:
        oversight.check_operator(ANN)

    assert info.value.reason == "permission"
    assert over.refused == [ANN]


@pytest.mark.parametrize("token", [None, "", "é", ALICE, MINE[:-1], MINE])
def test_the_operator_is_who_has_the_token(over, token):
    assert over().is_operator(token) == (token == MINE)


def test_the_token_is_changed_while_the_server_runs(over, tmp_path, caplog):
    oversight = over()

    write(tmp_path / "mine", "another-one-of-mine-")
    oversight.reload()
    assert not oversight.is_operator(MINE)
    assert oversight.is_operator("another-one-of-mine-")

    write(tmp_path / "mine", ALICE)  # a client's: it stays as it was
    oversight.reload()
    assert oversight.is_operator("another-one-of-mine-")
    assert "that of a client" in caplog.text and ALICE not in caplog.text


def test_a_token_that_a_client_has_too_is_an_error_at_the_start(over):
    with pytest.raises(DataError, match="of the operator's own") as info:
        over(ALICE)

    assert ALICE not in str(info.value)


@pytest.mark.parametrize("clients", [False, True])
def test_a_server_tells_its_callers_apart(tmp_path, clients):
    tokens = write(tmp_path / "tokens", f"alice {ALICE}") if clients else None
    mine = write(tmp_path / "mine", MINE)

    class Service:
        max_message_bytes = 1 << 10

    endpoint = Endpoint(
        Service(),
        None,
        security=Security(tokens=tokens, operator_token=mine),
    )

    assert endpoint.knows(MINE) and endpoint.knows(ALICE)
    assert endpoint.knows(None) == (not clients)
    assert endpoint.caller("p", MINE).operator
    assert not endpoint.caller("p", ALICE).operator
