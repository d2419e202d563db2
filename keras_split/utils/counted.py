"""How many of something, in words."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and what it counts, as one says it.

    Example:
    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    >>> counted(2, "class", "classes")
    '2 classes'
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
