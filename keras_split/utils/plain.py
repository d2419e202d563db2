"""Text of others, as it may stand in a text of ours."""


def plain(text: str, longest: int = 2000) -> str:
    r"""Text of the other side without what steers a terminal, and not long.

    Escape sequences could set a title, hide what was printed before, or
    answer for the user; a line of its own could pass for one of ours.

    Example:
    >>> plain("busy\x1b]0;title\x07\nError: none")
    'busy?]0;title??Error: none'
    """
    shown = "".join(c if c.isprintable() else "?" for c in text[:longest])
    return shown + "…" * (len(text) > longest)
