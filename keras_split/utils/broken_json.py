"""What comes of a JSON file that is not what it should be."""

# Not JSON at all, JSON of another shape, numbers and nesting without end.
BROKEN_JSON = (
    *(ValueError, KeyError, TypeError, AttributeError),
    *(IndexError, OverflowError, RecursionError),
)
