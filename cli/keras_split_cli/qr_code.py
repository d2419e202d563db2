"""An address as a picture of letters that a phone's camera reads."""

import io

from rich.text import Text

# Light modules are drawn, dark ones are the background: without colours of its
# own the picture would be inverted on a light terminal. The standard, ISO/IEC
# 18004, wants four modules of margin.
_STYLE, _MARGIN = "bright_white on black", 4


def qr_code(url: str) -> Text:
    """A QR code of two modules a letter; to be printed with `Console.print`.

    Args:
        url: What the code holds.
    """
    import segno

    drawn = io.StringIO()
    code = segno.make(url, error="l")
    code.terminal(out=drawn, border=_MARGIN, compact=True)
    return Text(drawn.getvalue().rstrip("\n"), _STYLE, no_wrap=True)
