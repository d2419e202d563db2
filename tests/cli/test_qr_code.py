"""A phone's camera reads what a terminal shows."""

import io

import numpy as np
import pytest
import zxingcpp
from rich.console import Console

from keras_split_cli.qr_code import qr_code

URL = "https://192.168.1.20:8443/#join=Zm9vYmFyYmF6cXV4"
LIGHT = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}


def picture(lines, pixels=4):
    """Letters as pixels: what is drawn is light."""
    halves = np.array([[LIGHT[letter] for letter in line] for line in lines])
    rows = halves.transpose(0, 2, 1).reshape(-1, halves.shape[1])
    return np.kron(255 * rows, np.ones((pixels, pixels))).astype(np.uint8)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_phone_reads_the_address(terminal):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=80)

    console.print(qr_code(URL))

    lines = shown.getvalue().splitlines()
    if terminal:  # whatever the colours of the terminal are
        assert all(line.startswith("\x1b[97;40m") for line in lines)
        lines = [line[8:].removesuffix("\x1b[0m") for line in lines]
    (scanned,) = zxingcpp.read_barcodes(picture(lines), try_invert=False)
    assert scanned.text == URL
