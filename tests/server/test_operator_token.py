import stat

import pytest

from keras_split.errors import DataError
from keras_split.server import operator_token
from keras_split.server.operator_token import OperatorToken

MINE = "a-token-of-the-operator"


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_that_is_made_holds_a_token_that_only_its_owner_reads(tmp_path):
    path = tmp_path / "operator.txt"

    assert operator_token.make(path)
    token = path.read_text().strip()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 40
    assert OperatorToken.read(path).fits(token)


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    path = write(tmp_path / "operator.txt", MINE)

    assert not operator_token.make(path)
    assert path.read_text() == MINE


def test_a_file_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(DataError, match="none/op.* another --operator-token"):
        operator_token.make(tmp_path / "none" / "op.txt")


@pytest.mark.parametrize(
    "token", ["", MINE[:-1], MINE + "x", MINE.upper(), "é", "\ud800"]
)
def test_other_tokens_do_not_fit(token):
    assert not OperatorToken(MINE).fits(token)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "Expected one token in .* Received: 0 words"),
        (f"alice {MINE}", "Received: 2 words"),
        ("tooshort", "16 or more characters for the operator. Received: 8."),
        ("tokén-of-the-operator", "visible ASCII characters for the operator"),
    ],
)
def test_a_file_of_another_form_is_refused_and_not_shown(
    tmp_path, text, message
):
    path = write(tmp_path / "operator.txt", text)

    with pytest.raises(DataError, match=message) as info:
        OperatorToken.read(path)

    for secret in (MINE, "tooshort", "tokén"):
        assert secret not in str(info.value)


def test_a_missing_file_is_named():
    with pytest.raises(DataError, match="operator's token in the file /no/w"):
        OperatorToken.read("/no/where")


def test_a_file_that_others_may_read_is_warned_of(tmp_path, caplog):
    OperatorToken.read(write(tmp_path / "operator.txt", MINE, 0o644))

    assert "may read the operator's token in" in caplog.text
    assert MINE not in caplog.text


def test_a_client_does_not_have_it_too(tmp_path):
    path = write(tmp_path / "operator.txt", f"{MINE}\n")

    assert OperatorToken.read(path, lambda token: token == "another").fits(MINE)
    with pytest.raises(DataError, match="that of a client") as info:
        OperatorToken.read(path, lambda token: token == MINE)

    assert MINE not in str(info.value)


def test_no_token_is_kept_or_shown():
    token = OperatorToken(MINE)

    assert MINE not in str(vars(token)) + repr(token)
