import pytest

from keras_split.errors import RefusedError
from keras_split_cli.own_numbers import own_numbers_told


@pytest.mark.parametrize(
    "reason, classes, text",
    [
        (
            "fingerprint",
            3,
            "No. This phone's half takes images of 96 x 48 (--input-size) and "
            "has 3 classes (--classes).",
        ),
        (
            "fingerprint",
            None,
            "No. This phone's half takes images of 96 x 48 (--input-size).",
        ),
        ("codec", 3, "No."),
    ],
)
def test_only_of_another_model_the_phone_tells_its_own(reason, classes, text):
    with pytest.raises(RefusedError) as info:
        with own_numbers_told((96, 48, 3), classes):
            raise RefusedError("No.", reason)

    assert str(info.value) == text
    assert info.value.reason == reason
