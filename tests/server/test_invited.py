import json

import pytest

from keras_split.errors import DataError
from keras_split.server.invited import Invited


def test_tokens_outlive_the_server_as_digests(tmp_path):
    path = tmp_path / "invited.json"
    name, token = Invited(path).add()

    again = Invited(path)

    assert again.tokens.who(token) == name == "web-1"
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert again.add()[0] == "web-2"


def test_without_a_file_they_end_with_it():
    token = Invited().add()[1]

    assert Invited().tokens.who(token) is None


def test_a_line_that_is_deleted_takes_a_token_back_at_once(tmp_path):
    path = tmp_path / "invited.json"
    invited = Invited(path)
    (one, first), (_, second) = invited.add(), invited.add()
    config = json.loads(path.read_text())

    del config["sha256"][one]
    path.write_text(json.dumps(config))
    invited.reload()

    assert invited.tokens.who(first) is None
    assert invited.tokens.who(second) == "web-2"


def test_a_name_is_given_once(tmp_path):
    path = tmp_path / "invited.json"
    invited = Invited(path)
    invited.add()
    invited.remove("web-1")

    assert Invited(path).add()[0] == "web-2"
    assert Invited(taken=lambda name: name == "web-1").add()[0] == "web-2"


def test_a_file_that_is_none_of_ours_is_refused(tmp_path):
    path = tmp_path / "invited.json"
    for text in ("", "[]", '{"count": 1}', '{"count": 1, "sha256": {"a": 1}}'):
        path.write_text(text)

        with pytest.raises(DataError, match="Expected digests"):
            Invited(path)


def test_a_full_disk_adds_nobody(tmp_path, monkeypatch):
    invited = Invited(tmp_path / "gone" / "invited.json")

    with pytest.raises(OSError):
        invited.add()

    assert repr(invited.tokens) == "Tokens of 0 clients"
