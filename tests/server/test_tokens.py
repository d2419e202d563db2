import hmac

import pytest

from keras_split.errors import DataError
from keras_split.server.tokens import Tokens

ALICE, BOB = "a-token-of-alice", "another-one-of-bob"


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_of_names_and_tokens(tmp_path):
    path = write(
        tmp_path / "tokens", f"# phones\nalice {ALICE}\n\n  bob\t{BOB}  \n"
    )

    tokens = Tokens.read(path)

    assert tokens.who(ALICE) == "alice"
    assert tokens.who(BOB) == "bob"


@pytest.mark.parametrize(
    "token",
    ["", ALICE[:-1], ALICE + "x", ALICE.upper(), "alice", "é", "\ud800"],
)
def test_other_tokens_are_nobodys(token):
    assert Tokens({"alice": ALICE}).who(token) is None


def test_every_entry_is_compared_whoever_asks(monkeypatch):
    compared = []

    def count(one, other):
        compared.append((len(one), len(other)))
        return one == other

    tokens = Tokens({"alice": ALICE, "bob": BOB, "carol": ALICE + BOB})
    monkeypatch.setattr(hmac, "compare_digest", count)

    for token in (ALICE, BOB, "x"):
        tokens.who(token)

    assert compared == [(32, 32)] * 9


@pytest.mark.parametrize(
    "text, message",
    [
        (f"alice {ALICE}\nbob", "Expected NAME TOKEN in line 2 of "),
        (f"alice {ALICE} more", "Expected NAME TOKEN in line 1 of "),
        (f"alice {ALICE}\nalice {BOB}", "line 2 of .*Received: a name twice"),
        ("alice tooshort", "16 or more characters for 'alice'. Received: 8."),
        (f"alice {ALICE}\nbob {ALICE}", "Received: the same one twice"),
        ("alice tokén-of-alice-1", "visible ASCII characters for 'alice'"),
        ("# nobody\n", "Received: none, so nobody could come in"),
    ],
)
def test_a_file_of_another_form_is_refused_and_not_shown(
    tmp_path, text, message
):
    path = write(tmp_path / "tokens", text)

    with pytest.raises(DataError, match=message) as info:
        Tokens.read(path)

    for secret in (ALICE, BOB, "tooshort", "tokén"):
        assert secret not in str(info.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="tokens of clients in the file /no/w"):
        Tokens.read("/no/where")


@pytest.mark.parametrize("mode, warned", [(0o600, False), (0o640, True)])
def test_a_file_that_others_may_read_is_warned_of(
    tmp_path, caplog, mode, warned
):
    path = write(tmp_path / "tokens", f"alice {ALICE}", mode)

    Tokens.read(path)

    assert ("chmod 600" in caplog.text) == warned
    assert ALICE not in caplog.text


def test_no_token_is_kept_or_shown():
    tokens = Tokens({"alice": ALICE})

    assert repr(tokens) == "Tokens of 1 client"
    assert ALICE not in str(vars(tokens))
