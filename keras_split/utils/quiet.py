"""What libraries write to stderr, kept back."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from keras_split.errors import SplitError


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps back what libraries write to stderr, unless they fail.

    That of C++ as well, for it is the file that is swapped. Errors of ours
    say what it was about already.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is no stderr
        yield
        return
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except SplitError:
            raise
        except BaseException:
            os.dup2(kept, 2)
            said.seek(0)
            os.write(2, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
