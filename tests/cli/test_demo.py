import subprocess

import pytest

from keras_split.errors import BackendError
from keras_split_cli import demo


class Client:
    """Exports nothing."""

    def export(self, path, **options):
        path.write_bytes(b"")


def test_a_phone_that_fails_is_an_error_of_ours(monkeypatch):
    both = object.__new__(demo._Demo)
    both.client, both._target = Client(), "127.0.0.1:9"
    failed = subprocess.CompletedProcess([], 1)

    def run(arguments, check=False, **options):
        if check:
            failed.check_returncode()
        return failed

    monkeypatch.setattr(subprocess, "run", run)

    with pytest.raises(BackendError, match="its process ended with 1"):
        both.continue_on_phone()
