import pytest

from keras_split.compression import formats
from keras_split.compression import presets
from keras_split.compression.presets import CompressionPreset
from keras_split.compression.rules import Quantization
from keras_split.errors import CodecError
from keras_split.errors import QuantizationError


@pytest.mark.parametrize("name", formats.names())
def test_a_dtype_is_a_coding_without_more(name):
    assert presets.get(name) == CompressionPreset(Quantization(name), "raw", 1)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_packs_and_what_is_given_overrides_it(name):
    preset = presets.get(name)

    assert preset == presets.PRESETS[name]
    assert preset.codec == "zstd"
    given = presets.get(name, codec="raw", bottleneck=2)
    assert given == CompressionPreset(preset.quantization, "raw", 2)


def test_a_quantization_of_ones_own_is_a_coding():
    rules = Quantization("int4", "int2", block=8)

    assert presets.get(rules, bottleneck=4) == CompressionPreset(
        rules, "raw", 4
    )
    assert presets.get(rules.get_config()).quantization == rules


def test_presets_save_more_the_smaller_their_name_sounds():
    def nbytes(name):
        coding = presets.get(name)
        shape = coding.shape((24, 24, 64))
        rules = coding.quantization
        return sum(
            rule.nbytes(32, shape)
            for rule in (rules.activations, rules.gradients)
        )

    sizes = [nbytes(n) for n in ("float32", "balanced", "small", "tiny")]
    assert sizes[0] / sizes[1] > 7.9
    assert sizes[0] / sizes[2] > 31
    assert sizes[0] / sizes[3] > 120


def test_a_bottleneck_has_at_least_one_channel():
    assert CompressionPreset(Quantization(), bottleneck=16).shape(
        (7, 7, 8)
    ) == (7, 7, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("int3",), "small"),
        (("int8", None, 0), "bottleneck"),
        (("int8", None, 2.5), "Received: 2.5"),
        (("int8", None, "4"), "Received: .4."),
        ((3,), "int8"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, message):
    with pytest.raises(QuantizationError, match=message) as caught:
        presets.get(*arguments)

    assert "Received" in str(caught.value)


@pytest.fixture
def own_names():
    """Presets that are registered meanwhile are forgotten in the end."""
    before = set(presets.PRESETS)
    yield
    for name in set(presets.PRESETS) - before:
        del presets._REGISTRY._items[name]


def test_a_registered_preset_is_given_by_its_name(own_names):
    mine = CompressionPreset(Quantization("float8_e4m3"), "zstd", 2)

    presets.register("mine", mine)

    assert presets.get("mine") == mine
    assert presets.names()[-1] == "mine"
    assert presets.get("mine", codec="raw").codec == "raw"


@pytest.mark.parametrize("name", ["int8", "small", "no name", ""])
def test_a_preset_needs_a_name_that_means_nothing_else(name, own_names):
    with pytest.raises(
        QuantizationError, match="Expected a compression preset"
    ):
        presets.register(name, CompressionPreset(Quantization("int8")))


def test_what_is_no_preset_is_not_registered(own_names):
    with pytest.raises(QuantizationError, match="Expected a CompressionPreset"):
        presets.register("mine", Quantization("int8"))
    with pytest.raises(CodecError, match="Received: 'brotli'"):
        presets.register(
            "mine", CompressionPreset(Quantization("int8"), "brotli")
        )
    with pytest.raises(QuantizationError, match="bottleneck of 1"):
        CompressionPreset(Quantization("int8"), bottleneck=0)

    assert "mine" not in presets.names()
