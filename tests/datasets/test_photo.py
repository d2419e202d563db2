import os
import struct

import numpy as np
import pytest
from PIL import Image
from PIL import TiffImagePlugin

from keras_split.datasets.photo import PhotoError
from keras_split.datasets.photo import pillow
from keras_split.datasets.photo import read_photo
from keras_split.datasets.photo import to_pixels

ORANGE = (200, 100, 50)
GRAY = 124  # of ORANGE
ORIENTATION = 0x0112


def with_palette(mode, value):
    image = Image.new(mode, (2, 2), value)
    image.putpalette([0, 0, 0, *ORANGE])
    return image


def near(pixels, expected, by=1):
    difference = pixels.astype(int) - np.asarray(expected)
    return np.abs(difference).max() <= by


@pytest.fixture
def save(tmp_path):
    """Writes an image to a file of that name."""

    def write(image, name="photo.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("image", "rgb"),
    [
        (Image.new("1", (2, 2), 1), (255,) * 3),
        (Image.new("L", (2, 2), 51), (51,) * 3),
        (with_palette("P", 1), ORANGE),
        (with_palette("PA", (1, 9)), ORANGE),
        (Image.new("LA", (2, 2), (51, 9)), (51,) * 3),
        (Image.new("La", (2, 2), (25, 128)), (50,) * 3),
        (Image.new("RGB", (2, 2), ORANGE), ORANGE),
        (Image.new("RGBA", (2, 2), (*ORANGE, 9)), ORANGE),
        (Image.new("RGBa", (2, 2), (100, 50, 25, 128)), ORANGE),
        (Image.new("RGBX", (2, 2), (*ORANGE, 9)), ORANGE),
        (Image.new("CMYK", (2, 2), (55, 155, 205, 0)), ORANGE),
        (Image.new("YCbCr", (2, 2), (124, 86, 182)), ORANGE),
        (Image.new("HSV", (2, 2), (14, 191, 200)), ORANGE),
        (Image.new("I;16", (2, 2), 51 << 8), (51,) * 3),
        (Image.new("I;16B", (2, 2), 51 << 8), (51,) * 3),
        (Image.new("I;16L", (2, 2), 51 << 8), (51,) * 3),
        (Image.new("I;16N", (2, 2), 51 << 8), (51,) * 3),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_every_mode_has_its_colour_and_its_gray(image, rgb):
    colour = to_pixels(image.copy(), (2, 2, 3))
    gray = to_pixels(image.copy(), (2, 2, 1))

    luma = np.array(rgb) @ [0.299, 0.587, 0.114]
    assert colour.dtype == np.uint8 and colour.shape == (2, 2, 3)
    assert near(colour, rgb)
    assert near(gray, luma, by=2) and gray.shape == (2, 2, 1)


@pytest.mark.parametrize("mode", ["I", "F", "LAB", "BGR;15", "BGR;24"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_of_unknown_colours_are_refused_by_name(mode, channels):
    try:
        image = Image.new(mode, (2, 2))
    except (ValueError, KeyError):
        pytest.skip(f"this Pillow has no {mode}")

    with pytest.raises(PhotoError, match=f"mode {mode}"):
        to_pixels(image, (2, 2, channels))


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.int16])
def test_files_of_no_known_range_are_refused(tmp_path, dtype):
    pixels = Image.fromarray(np.full((4, 4), 0.5, dtype).astype("float32"))
    pixels = pixels.convert("F" if dtype == np.float32 else "I")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    pixels.save(tmp_path / "photo.tif", tiffinfo=tags)

    with pytest.raises(PhotoError, match="range nobody knows"):
        read_photo(tmp_path / "photo.tif", (2, 2, 1))


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (Image.new("L", (2, 2), 51), {"transparency": 51}),
        (Image.new("RGB", (2, 2), (51, 51, 51)), {"transparency": (51,) * 3}),
        (Image.new("L", (2, 2), 51).convert("P"), {"transparency": 51}),
        (Image.new("L", (2, 2), 51).convert("P"), {"transparency": b"\0" * 52}),
        (Image.fromarray(np.full((2, 2, 4), (51, 51, 51, 0), "uint8")), {}),
        (Image.fromarray(np.full((2, 2), 51 << 8, np.uint16)), {}),
    ],
    ids=["L", "RGB", "P", "P-bytes", "RGBA", "16"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_the_colour_under_what_is_transparent(
    save, image, options, channels
):
    pixels = read_photo(save(image, **options), (2, 2, channels))

    np.testing.assert_array_equal(pixels, 51)


@pytest.mark.parametrize("photometric", [0, 1])
def test_16_bit_tiff_is_not_inverted_whatever_its_zero_is(save, photometric):
    image = Image.fromarray(np.full((2, 2), 51 << 8, np.uint16))
    file = save(image, "photo.tif")
    content = bytearray(file.read_bytes())
    entry = content.index(struct.pack("<HHI", 262, 3, 1))
    content[entry + 8] = photometric
    file.write_bytes(content)

    pixels = read_photo(file, (2, 2, 1))

    assert (pixels == (51 if photometric else 255 - 51)).all()


def test_12_bit_tiff_is_white_where_it_is_white(tmp_path):
    """Two pixels of twelve bits in three bytes, as scanners write them."""
    fields = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 120)]
    fields += [(278, 1), (279, 3)]
    content = b"II*\0" + struct.pack("<IH", 8, len(fields))
    for tag, value in fields:
        content += struct.pack("<HHII", tag, 4, 1, value)
    content = content.ljust(120, b"\0") + b"\xff\xf0\x00\0"
    (tmp_path / "photo.tif").write_bytes(content)

    pixels = read_photo(tmp_path / "photo.tif", (1, 2, 1))

    assert pixels.ravel().tolist() == [255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_an_image_is_turned_as_its_camera_says(save, orientation, suffix):
    corners = np.kron([[0, 80], [160, 240]], np.ones((16, 16))).astype("uint8")
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = {
        1: corners,
        2: np.fliplr(corners),
        3: np.rot90(corners, 2),
        4: np.flipud(corners),
        5: corners.T,
        6: np.rot90(corners, 1),
        7: np.rot90(corners, 2).T,
        8: np.rot90(corners, -1),
    }[orientation]
    image = Image.fromarray(stored)

    pixels = read_photo(save(image, f"photo.{suffix}", exif=exif), (32, 32, 1))

    assert near(pixels[8::16, 8::16, 0], [[0, 80], [160, 240]], by=3)


def test_a_negative_rational_in_exif_does_no_harm(save):
    """Some cameras write such an exposure bias where it must be positive."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[282] = 0.5  # pixels per inch
    pixels = np.zeros((4, 4), np.uint8)
    pixels[:2] = 255
    file = save(Image.fromarray(pixels), "photo.jpg", exif=exif, quality=100)
    content = file.read_bytes()
    field, half = struct.pack(">HHI", 282, 5, 1), struct.pack(">II", 1, 2)
    assert content.count(field) == content.count(half) == 1
    content = content.replace(field, struct.pack(">HHI", 282, 10, 1))
    file.write_bytes(content.replace(half, struct.pack(">ii", -1, 2)))

    turned = read_photo(file, (4, 4, 1))

    assert near(turned[..., 0], np.rot90(pixels, -1), by=12)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01"]
)
def test_exif_that_is_cut_off_does_no_harm(save, exif):
    file = save(Image.new("L", (4, 4), 51), "photo.jpg", exif=exif)

    assert near(read_photo(file, (4, 4, 1)), 51)


def test_exif_that_pillow_fails_on_is_a_reason(save, monkeypatch):
    def fail(image):
        raise struct.error("argument out of range")

    file = save(Image.new("L", (4, 4)), "photo.jpg")
    monkeypatch.setattr(Image.Image, "getexif", fail)

    with pytest.raises(PhotoError, match="EXIF, .*: argument out of range"):
        read_photo(file, (4, 4, 1))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_image_of_several_is_taken(save, suffix):
    first, second = (Image.new("RGB", (4, 4), (s,) * 3) for s in (51, 200))

    file = save(
        first,
        f"photo.{suffix}",
        save_all=True,
        append_images=[second],
        **({"lossless": True} if suffix == "webp" else {}),
    )

    assert (read_photo(file, (2, 2, 3)) == 51).all()


@pytest.mark.parametrize("options", [{"progressive": True}, {}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_has_its_colours(save, mode, options):
    image = Image.new("RGB", (8, 8), ORANGE).convert(mode)

    file = save(image, "photo.jpg", quality=100, **options)

    assert near(read_photo(file, (2, 2, 1)), GRAY, by=3)
    if mode != "L":
        assert near(read_photo(file, (2, 2, 3)), ORANGE, by=3)


def test_a_colour_profile_is_not_looked_at(save):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    image = Image.new("RGB", (4, 4), ORANGE)

    file = save(image, icc_profile=profile.tobytes())

    assert (read_photo(file, (2, 2, 3)) == ORANGE).all()


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "tif", "webp"])
def test_half_a_file_is_a_reason(save, suffix):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3)).astype("uint8"))
    file = save(noise, f"photo.{suffix}")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    with pytest.raises(PhotoError, match="."):
        read_photo(file, (4, 4, 3))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html>", "no image that Pillow knows"),
        (b"\x89PNG\r\n\x1a\n", "."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "."),
    ],
)
def test_what_is_no_photo_is_a_reason(tmp_path, content, reason):
    (tmp_path / "photo.jpg").write_bytes(content)

    with pytest.raises(PhotoError, match=reason):
        read_photo(tmp_path / "photo.jpg", (4, 4, 3))


def test_a_program_is_not_run(tmp_path):
    """Pillow would give a photo.jpg that is PostScript to an interpreter."""
    image = Image.new("L", (4, 4))
    image.save(tmp_path / "photo.jpg", format="EPS")

    with pytest.raises(PhotoError, match="EPS is a drawing"):
        read_photo(tmp_path / "photo.jpg", (4, 4, 3))


def test_too_many_pixels_are_a_reason(save, monkeypatch):
    file = save(Image.new("L", (40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(PhotoError, match="limit of 200 "):
        read_photo(file, (4, 4, 3))


def test_a_file_that_may_not_be_read_is_a_reason(save, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    file = save(Image.new("L", (4, 4)))
    monkeypatch.setattr(Image, "open", forbidden)

    with pytest.raises(PhotoError, match="^Permission denied$"):
        read_photo(file, (4, 4, 3))


def test_links_and_pipes_are_a_reason(tmp_path):
    os.symlink("loop.jpg", tmp_path / "loop.jpg")
    os.symlink("missing.jpg", tmp_path / "dangling.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")

    for name, reason in (
        ("loop.jpg", "Too many levels"),
        ("dangling.jpg", "No such file"),
        ("pipe.jpg", "pipe"),
    ):
        with pytest.raises(PhotoError, match=reason):
            read_photo(tmp_path / name, (4, 4, 3))


def test_any_exception_of_pillow_is_a_reason(save, monkeypatch):
    def fail(path):
        raise KeyError(7)

    file = save(Image.new("L", (4, 4)))
    monkeypatch.setattr(Image, "open", fail)

    with pytest.raises(PhotoError, match="KeyError: 7"):
        read_photo(file, (4, 4, 3))


def test_deep_png_is_read_by_any_pillow(save, monkeypatch):
    file = save(Image.fromarray(np.full((4, 4), 51 << 8, np.uint16)))
    opened = Image.open

    def as_before_10_3(path):
        with opened(path) as image:
            old = Image.fromarray(np.asarray(image, np.int32))
        old.format = "PNG"
        return old

    monkeypatch.setattr(Image, "open", as_before_10_3)

    assert (read_photo(file, (2, 2, 1)) == 51).all()


@pytest.mark.parametrize("suffix", ["heic", "jpg"])
def test_heic_is_read_where_its_reader_is(save, suffix):
    pytest.importorskip("pillow_heif")
    pillow()
    halves = np.zeros((32, 32, 3), np.uint8)
    halves[:16] = ORANGE
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # HEIC turns in another way, and only says so here

    file = save(
        Image.fromarray(halves),
        f"photo.{suffix}",
        format="HEIF",
        quality=100,
        exif=exif,
    )

    pixels = read_photo(file, (32, 32, 3))[8::16, 8::16]
    assert near(pixels[0], ORANGE, by=3) and near(pixels[1], 0, by=3)


def test_heic_that_is_broken_is_no_matter_of_its_reader(tmp_path):
    pytest.importorskip("pillow_heif")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))

    with pytest.raises(PhotoError, match="HEIC, but is broken"):
        read_photo(tmp_path / "photo.heic", (4, 4, 3))


def test_avif_is_read_by_a_pillow_that_can(save):
    from PIL import features

    if "avif" not in features.get_supported():
        pytest.skip("this Pillow has no AVIF")
    image = Image.new("RGB", (16, 16), ORANGE)

    file = save(image, "photo.avif", quality=100)

    assert near(read_photo(file, (2, 2, 3)), ORANGE, by=3)


@pytest.mark.parametrize(
    ("brand", "advice"),
    [
        (b"heic", "HEIC, which needs pillow-heif: pip install pillow-heif"),
        (b"mif1", "HEIC, which needs"),
        (b"avif", "AVIF, which needs Pillow 11.3"),
    ],
)
def test_a_kind_without_a_reader_says_what_to_install(
    tmp_path, brand, advice, monkeypatch
):
    def unknown(path):
        raise Image.UnidentifiedImageError(f"cannot identify {path}")

    monkeypatch.setattr(Image, "open", unknown)
    monkeypatch.setattr(Image, "registered_extensions", dict)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(9))

    with pytest.raises(PhotoError, match=advice):
        read_photo(tmp_path / "photo.heic", (4, 4, 3))


def test_a_smaller_image_has_the_mean_of_what_it_shows(save):
    squares = np.kron([[0, 240], [240, 0]], np.ones((4, 4))).astype("uint8")

    pixels = read_photo(save(Image.fromarray(squares)), (1, 1, 1))

    assert 100 < pixels.mean() < 140
