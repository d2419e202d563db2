import json
import shutil

import pytest
from google.protobuf import json_format

from keras_split.compression import codecs
from keras_split.device.description import Description
from keras_split.errors import DataError
from keras_split.litert.description import describe
from keras_split.litert.description import dumps
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.messages import Hello
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import split_pb2 as pb
from tests import links


@pytest.fixture
def copied(files, tmp_path):
    """A file that trains, in a folder of its own."""
    for suffix in (".tflite", ".json"):
        shutil.copy(
            files["int8"].with_suffix(suffix), tmp_path / f"client{suffix}"
        )
    return tmp_path / "client.tflite"


def edit(path, change):
    file = path.with_suffix(".json")
    config = json.loads(file.read_bytes())
    change(config)
    file.write_text(json.dumps(config))


def test_it_says_what_the_exporter_wrote(copied):
    description = Description.read(copied)

    assert description.trains
    assert description.batch_size == 8
    assert description.contract.cut == ("first", "drop")
    assert description.inputs[0].shape == (16, 16, 1)
    assert description.outputs[0].accuracy
    assert description.outputs[0].label.dtype == "int32"
    assert description.learning_rate == pytest.approx(0.1)
    assert json.loads(description.optimizer)["class_name"] == "SGD"
    assert {"head_forward", "tail_step"} <= set(description.signatures)
    assert description.data_spec == DataSpec()


@pytest.mark.parametrize("trains", [True, False])
def test_the_hello_that_is_ready_is_the_one_that_the_client_says(files, trains):
    for name in ("int8", "small") if trains else ("float32",):
        path = files[name]
        if not trains:
            client, _ = links.halves(name)
            about = describe(
                client, path.read_bytes(), mode="infer", batch_size=8
            )
            path = path.with_name("infer.tflite")
            path.write_bytes(files[name].read_bytes())
            path.with_suffix(".json").write_text(dumps(about))
        description = Description.read(path)
        about = json.loads(path.with_suffix(".json").read_bytes())

        ready = json_format.ParseDict(about["hello"], pb.Hello())

        said = Hello(description.contract, description.optimizer)
        envelope, _ = convert.to_wire(said, codecs.get("raw"))
        assert ready == envelope.hello


@pytest.mark.parametrize("suffix", [".tflite", ".json"])
def test_a_missing_file_is_named(copied, suffix):
    copied.with_suffix(suffix).unlink()

    with pytest.raises(DataError, match=f"client{suffix}.*Export the model"):
        Description.read(copied)


def test_a_keras_file_is_none_and_the_way_to_one_is_told(tmp_path):
    with pytest.raises(DataError, match="Expected a .tflite.*a .keras") as info:
        Description.read(tmp_path / "client.keras")

    assert f"export {tmp_path / 'client.keras'} -o FOLDER" in str(info.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "null", '{"format": 1}', "\x00", "[" * 100_000],
    ids=lambda text: text[:9],
)
def test_a_damaged_json_is_an_error(copied, text):
    copied.with_suffix(".json").write_text(text)

    with pytest.raises(DataError, match="as client.export wrote it.*Received"):
        Description.read(copied)


@pytest.mark.parametrize(
    "key",
    ["mode", "batch_size", "contract", "inputs", "outputs", "optimizer"]
    + ["preprocess", "signatures", "tflite_sha256"],
)
@pytest.mark.parametrize("value", ["gone", 7, "text", [1]])
def test_a_wrong_entry_is_an_error(copied, key, value):
    def change(config):
        config[key] = value
        if value == "gone":
            del config[key]

    edit(copied, change)
    if (key, value) == ("batch_size", 7):
        return  # another number is no damage

    with pytest.raises(DataError, match="Expected.*Received"):
        Description.read(copied)


@pytest.mark.parametrize("key", ["format", "protocol"])
def test_a_newer_file_asks_for_a_newer_keras_split(copied, key):
    edit(copied, lambda config: config.update({key: 2, "keras_split": "9.0"}))

    with pytest.raises(DataError, match="Install the keras_split.*9.0"):
        Description.read(copied)


def test_a_tflite_of_another_export_is_an_error(copied):
    with copied.open("ab") as file:
        file.write(b"\x00")

    with pytest.raises(DataError, match="two come from different exports"):
        Description.read(copied)


def test_a_batch_size_without_end_is_an_error(copied):
    path = copied.with_suffix(".json")
    text = path.read_text()
    path.write_text(text.replace('"batch_size": 8', '"batch_size": 1e999'))

    with pytest.raises(DataError, match="as client.export wrote it.*Received"):
        Description.read(copied)
