"""The client of docs/on-the-phone.md cuts and fills rows as ours does."""

import re
from pathlib import Path

import numpy as np
import pytest

from keras_split.compression import codecs
from keras_split.compression.rules import Rule
from keras_split.compression.tensors import TensorSpec
from keras_split.device.row_padder import RowPadder
from keras_split.protocol.messages import Infer
from keras_split.protocol.wire import convert
from tests import links
from tests.golden import session

PAGE = Path(__file__).parents[2] / "docs" / "on-the-phone.md"
ROWS = session.ROWS
# As many channels as rows, and one more: which are which is not in a shape.
SPECS = (TensorSpec("a", (2, ROWS)), TensorSpec("b", (ROWS + 1,)))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """What the page defines, up to the call of the server."""
    section = PAGE.read_text("utf-8").partition("\n## A whole client\n")[2]
    code = re.search("```python\n(.*?)```", section, re.DOTALL)[1]
    namespace = {"np": np}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(session.FOLDER)
        exec(code.partition("\nwith grpc.")[0], namespace)
    return namespace


@pytest.mark.parametrize("count", [1, 3, ROWS])
@pytest.mark.parametrize(
    "rule",
    [Rule("float32"), *(Rule("int8", g) for g in ("example", "tensor"))]
    + [Rule("int8", "channel")],
    ids=str,
)
def test_it_sends_and_takes_what_ours_does(client, rule, count):
    ours = RowPadder("smashed", SPECS, rule, ROWS)
    made = ours.arrive(links.tensors(SPECS, rule, size=ROWS), ROWS)
    specs = [vars(spec) for spec in SPECS]
    about = {"granularity": rule.granularity}

    described, payload = client["tensors"]("smashed", specs, about, made, count)

    sent = ours.leave(made, count)
    envelope, pieces = convert.to_wire(Infer("s", sent), codecs.get("raw"))
    assert described == [*envelope.infer.tensors]
    assert payload == b"".join(pieces)

    known = {}
    client["arrays"]("smashed", about, described, payload, known)

    expected = ours.arrive(sent, count)
    assert known.keys() == expected.keys()
    for name, array in known.items():
        np.testing.assert_array_equal(array, expected[name])
