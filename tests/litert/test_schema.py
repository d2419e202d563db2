"""client.schema.json says what client.json is."""

import copy
import json
from pathlib import Path

import keras
import pytest

import keras_split
from keras_split import litert
from keras_split.litert.description import describe
from keras_split.litert.losses import OutputLoss
from keras_split.protocol.moment import Moment
from tests import nets
from tests.golden import session

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads(
    (Path(litert.__file__).parent / "client.schema.json").read_text()
)


@pytest.fixture(scope="module")
def described():
    """A description of each kind, by what it shows."""
    content = session.TFLITE.read_bytes()
    ways = {"mode": "infer", "batch_size": 8}
    blocks, _ = keras_split.compile(
        nets.built(nets.dense),
        ["a", "b"],
        quantization=keras_split.Quantization("int8", block=2),
    )
    skips, _ = keras_split.compile(
        nets.built(nets.unet),
        ["pool1", "up1"],
        quantization="float32",
        defenses=[keras_split.defenses.GaussianNoise(0.1)],
    )
    several, _ = keras_split.compile(
        nets.built(nets.two_by_two), ["a", "flat"], codec="zstd"
    )
    shared, _ = keras_split.compile(
        nets.built(nets.masked), ["a", "b"], share=["padding_mask"]
    )
    skips.moment = Moment("ab" * 16, 7)
    return {
        "a file that trains": json.loads(session.JSON.read_text()),
        "blocks": describe(blocks, content, **ways),
        "shared": describe(shared, content, **ways),
        "skips and defenses": describe(skips, content, **ways),
        "losses and pixels": describe(
            several,
            content,
            mode="train",
            batch_size=8,
            losses=[
                OutputLoss("kind", "sparse_categorical_crossentropy"),
                OutputLoss("size", "mse", 0.5),
            ],
            optimizer=keras.optimizers.Adam(0.1),
            data_spec=keras_split.DataSpec.of(
                keras.applications.vgg19.preprocess_input, ["cat", "dog"]
            ),
        ),
    }


def unnamed(value, schema, where=""):
    """Keys of a description that its schema does not name."""
    schema = SCHEMA["$defs"].get(schema.get("$ref", "/").split("/")[-1], schema)
    if isinstance(value, list):
        for item in value:
            yield from unnamed(item, schema["items"], where)
    elif isinstance(value, dict):
        named = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for name, item in value.items():
            inner = named.get(name, others)
            if inner is not None:
                yield from unnamed(item, inner, f"{where}.{name}")
            elif named:  # if not, anything goes: the config of a defense
                yield f"{where}.{name}"


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_what_is_written_follows_it_and_has_no_key_that_it_does_not_name(
    described,
):
    for about in described.values():
        about = json.loads(litert.description.dumps(about))

        jsonschema.validate(about, SCHEMA)
        assert [*unnamed(about, SCHEMA)] == []


def test_that_a_loss_takes_logits_is_said():
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])
    loss = keras.losses.CategoricalCrossentropy

    for given in (loss(from_logits=True), loss()):
        about = describe(
            client,
            session.TFLITE.read_bytes(),
            mode="train",
            batch_size=8,
            losses=[OutputLoss("c", given)],
            optimizer=keras.optimizers.SGD(0.1),
        )

        jsonschema.validate(json.loads(json.dumps(about)), SCHEMA)
        (row,) = about["outputs"]
        told = given.get_config()["from_logits"]
        assert row.get("from_logits", False) is told
        assert ("from_logits" in row) is told


def test_what_is_missing_or_of_another_type_does_not(described):
    whole = described["a file that trains"]
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for path in (
        *SCHEMA["required"],
        *("contract.smashed", "contract.quantization.gradients"),
        *("hello.contract.codec", "hello.contract.activations.dtype"),
        *("inputs.0.half", "outputs.0.label", "signatures.tail_step"),
    ):
        *way, last = path.split(".")
        for change in ("gone", 7.5):
            about = copy.deepcopy(whole)
            found = about
            for name in way:
                found = found[int(name) if name.isdigit() else name]
            found[last] = change
            if change == "gone":
                del found[last]

            assert not validator.is_valid(about), (path, change)
