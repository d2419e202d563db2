import numpy as np
import pytest

from keras_split.audit import Examples
from keras_split.audit import Report
from keras_split.audit import Setting
from keras_split.audit import Trial
from keras_split.audit.drawing import draw
from keras_split.audit.page import page
from keras_split.audit.page import strip
from keras_split.audit.pictures import Pictures


def examples(channels=1):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (40, 6, 6, channels)).astype("float32")
    return Examples(x, np.arange(40) // 4 % 3)


def test_one_of_each_class_comes_first_and_values_fill_the_range():
    truth = examples()
    pictures = Pictures.of(truth, truth)
    assert truth.y[pictures.places[:3]].tolist() == [0, 1, 2]
    assert len(pictures.places) == len(set(pictures.places)) == 10
    low, high = truth.x.min(), truth.x.max()
    shown = 255 * (truth.x[pictures.places] - low) / (high - low)
    np.testing.assert_allclose(pictures.originals, shown, atol=0.51)


@pytest.mark.parametrize("shape", [(40, 5), (40, 6, 6, 2), (40, 2, 6, 1)])
def test_what_is_no_image_has_no_pictures(shape):
    truth = Examples(np.zeros(shape, "float32"), np.zeros(40, int))
    assert Pictures.of(truth, truth) is None


def test_an_attack_that_guesses_too_few_has_no_row():
    pictures = Pictures.of(examples(), examples())
    pictures.add("as it is", "short", examples().x[: pictures.places.max()])
    assert not pictures.rows
    pictures.add("as it is", "perfect", examples().x[:16])
    np.testing.assert_array_equal(pictures.rows[0].images, pictures.originals)


def test_a_strip_has_all_images_side_by_side_in_three_channels():
    pictures = Pictures.of(examples(), examples())
    row = strip(pictures.originals)
    assert row.shape == (6, 10 * 6 + 9 * 2, 3)
    np.testing.assert_array_equal(row[:, :6, :1], pictures.originals[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_page_and_picture_have_a_row_of_each_attack(channels, tmp_path):
    truth = examples(channels)
    pictures = Pictures.of(truth, truth)
    pictures.add("as it is", "$one$", truth.x)
    pictures.add("noise", "two", truth.x)
    setting = Setting(("a", "b"), "int8", 40, 40, 40, 3, 8, 0, 1.0, 2.0)
    trials = tuple(
        Trial(name, (), 0.5, 1, 1, 1.0, ()) for name in ("as it is", "noise")
    )

    text = page(Report(setting, trials, pictures))
    draw(pictures, tmp_path / "rows.png")

    assert text.count("data:image/png;base64,") == 3
    assert "$one$, as it is" in text and "two, noise" in text
    assert (tmp_path / "rows.png").read_bytes()[1:4] == b"PNG"
