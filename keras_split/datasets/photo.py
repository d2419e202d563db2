"""One image file as the pixels that a model takes.

A photo's EXIF orientation is followed. Of an animation or a file of several
pages the first image is taken; transparency and colour profiles are not
looked at: a pixel has the colour that the file gives it.
"""

import functools
import stat
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keras_split.errors import BackendError
from keras_split.utils.extras import install

if TYPE_CHECKING:
    from PIL import Image

Images = NDArray[np.uint8]

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg"),
    *(".jpg", ".png", ".tif", ".tiff", ".webp"),
)
# What Pillow makes gray or RGB of without changing what is seen. It would
# convert LAB, too, but takes its lightness for three colours.
_MODES = frozenset(
    "1 CMYK HSV L LA La P PA RGB RGBA RGBX RGBa YCbCr".split(" ")
)
_PROGRAMS = ("EPS", "WMF")  # what reads them is an interpreter, not Pillow
_BITS_PER_SAMPLE = 258  # tags of TIFF
_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_ORIENTATION = 0x0112
_BRANDS = {  # the bytes after "ftyp"
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys(
        [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"], "HEIC"
    ),
    b"msf1": "HEIC",
}
_READERS = {
    "AVIF": "Pillow 11.3 or newer: pip install --upgrade pillow",
    "HEIC": "pillow-heif: pip install pillow-heif",
}


class PhotoError(Exception):
    """Why a file gives no pixels; whoever caught it knows which file."""


@functools.cache
def pillow() -> ModuleType:
    """`PIL.Image`, with HEIC where pillow-heif is installed.

    Raises:
        BackendError: If there is no Pillow.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise BackendError(
            "Expected Pillow, which reads image files. It is not installed. "
            f"Run: {install('images')}"
        ) from error
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    return Image


def read_photo(path: Path, shape: tuple[int, int, int]) -> Images:
    """Reads one file.

    Args:
        path: Of the file; what its suffix says does not matter.
        shape: Height, width and channels, 1 for gray and 3 for RGB.

    Returns:
        uint8 of that shape; proportions change to fit.

    Raises:
        PhotoError: If that cannot be done, for whatever reason.
        BackendError: If there is no Pillow.
    """
    image_module = pillow()
    try:
        _check_file(path)
        with image_module.open(path) as image:
            if image.format in _PROGRAMS:
                raise PhotoError(f"{image.format} is a drawing, not a photo")
            # Before EXIF is asked for: PNG may have it behind the pixels.
            image.load()
            pixels = to_pixels(image, shape)
    except PhotoError:
        raise
    # Its plugins meet bytes of all kinds, and let out whatever their parsers
    # raise: struct.error, SyntaxError, KeyError, ZeroDivisionError.
    except Exception as error:
        raise PhotoError(_reason(path, error)) from error
    return pixels


def to_pixels(image: "Image.Image", shape: tuple[int, int, int]) -> Images:
    """An opened image as uint8 of `shape`, the right way up.

    Raises:
        PhotoError: If nothing says which colours its numbers are.
    """
    height, width, channels = shape
    shallow = _to_8_bits(image)
    if shallow.mode not in _MODES:
        raise PhotoError(
            f"its pixels are of mode {shallow.mode}, whose colours are not "
            "known here; save it as RGB with 8 bits a channel"
        )
    # Else Pillow mixes a transparent colour in, in some modes.
    shallow.info.pop("transparency", None)
    if shallow.mode == "La":
        shallow = shallow.convert("LA")  # it has no direct way to gray
    colored = shallow.convert("L" if channels == 1 else "RGB")
    upright = _turn(colored, image)
    resized = upright.resize((width, height), pillow().Resampling.BILINEAR)
    return np.asarray(resized, np.uint8).reshape(shape)


def _to_8_bits(image: "Image.Image") -> "Image.Image":
    """The image with 8 bits a channel; Pillow clips deeper ones at 255."""
    # Until Pillow 10.2, 16-bit PNG opens in the mode of 32 bits.
    deep_png = image.mode == "I" and image.format == "PNG"
    if not deep_png and not image.mode.startswith("I;16"):
        if image.mode in ("I", "F"):
            raise PhotoError(
                "expected 8 or 16 bits a channel, received numbers of mode "
                f"{image.mode} whose range nobody knows; save it with 8 bits"
            )
        return image
    tags = getattr(image, "tag_v2", {})
    (bits, *_) = tags.get(_BITS_PER_SAMPLE, (16,))
    gray = (np.asarray(image).astype(np.uint16) >> (bits - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        gray = 255 - gray  # Pillow does this for 8 bits alone
    made: Image.Image = pillow().fromarray(gray)
    return made


def _turn(pixels: "Image.Image", image: "Image.Image") -> "Image.Image":
    """Turns pixels as the EXIF of `image` says.

    `PIL.ImageOps.exif_transpose` writes the EXIF anew as well, which fails
    when a camera has put a negative number where it may not stand.
    """
    if image.format == "TIFF":
        return pixels  # TIFF turns itself; Pillow 10.0 says so afterwards, too
    method = pillow().Transpose
    turns = {
        2: method.FLIP_LEFT_RIGHT,
        3: method.ROTATE_180,
        4: method.FLIP_TOP_BOTTOM,
        5: method.TRANSPOSE,
        6: method.ROTATE_270,
        7: method.TRANSVERSE,
        8: method.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:
        raise PhotoError(
            "its EXIF, which says how it was held, cannot be read: "
            f"{_words(error)}; save it without"
        ) from error
    return pixels if turn is None else pixels.transpose(turn)


def _check_file(path: Path) -> None:
    """Refuses what would be read forever, or is not there."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise PhotoError("it is a pipe or a device, not a file")
    if not about.st_size:
        raise PhotoError("it is empty")


def _reason(path: Path, error: Exception) -> str:
    image_module = pillow()
    if isinstance(error, image_module.DecompressionBombError):
        return (
            "it has more pixels than Pillow's limit of "
            f"{2 * image_module.MAX_IMAGE_PIXELS:,} against files that fill "
            "the memory; make it smaller"
        )
    if isinstance(error, image_module.UnidentifiedImageError):
        with path.open("rb") as file:
            start = file.read(12)
        kind = _BRANDS.get(start[8:]) if start[4:8] == b"ftyp" else None
        if kind is None:
            return "it is no image that Pillow knows, or its start is broken"
        if f".{kind.lower()}" in image_module.registered_extensions():
            return f"it starts like {kind}, but is broken"
        return f"it is {kind}, which needs {_READERS[kind]}"
    return _words(error)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    kind = type(error).__name__
    if isinstance(error, OSError | ValueError | SyntaxError) and str(error):
        return str(error)
    return f"{kind}: {error}" if str(error) else kind
