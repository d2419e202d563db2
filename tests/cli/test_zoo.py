import json
import subprocess
import sys

from click.testing import CliRunner

from keras_split import zoo as presets
from keras_split_cli.zoo import zoo

# What listing must not load, because importing Keras alone takes seconds.
HEAVY = {"keras", "keras_hub", "tensorflow", "grpc", "google.protobuf", "PIL"}
LIST = """
import sys
from keras_split_cli.main import main
try:
    main(["zoo", "list"])
finally:
    print(" ".join(sys.modules), file=sys.stderr)
"""


def run(*arguments):
    return CliRunner().invoke(zoo, arguments)


def test_list_loads_neither_keras_nor_tensorflow_nor_grpc():
    result = subprocess.run(
        [sys.executable, "-c", LIST], capture_output=True, text=True, timeout=60
    )

    assert result.returncode == 0, result.stderr
    assert "mobilenet_v2" in result.stdout
    assert not HEAVY & set(result.stderr.split())


def test_list_fits_a_terminal_and_cuts_nothing_off():
    result = run("list")

    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 80
    assert "…" not in result.output
    for name in presets.names():
        assert any(line.startswith(name) for line in lines)


def test_list_as_json_has_every_cut_and_its_bytes():
    result = run("list", "--json", "--quantization", "int4")

    entries = {entry["name"]: entry for entry in json.loads(result.output)}
    assert set(entries) == set(presets.names())
    for entry in entries.values():
        assert set(entry["cuts"]) == {"spliteasy", "deep", "light"}
        for name, cut in entry["cuts"].items():
            facts = presets.get(entry["name"]).cut(name).facts
            up, down = facts.bytes_per_sample("int4")
            sizes = cut["bytes_per_sample"]["int4"]
            assert (sizes["uplink"], sizes["downlink"]) == (up, down)


def test_show_gives_the_bytes_of_every_quantization():
    result = run("show", "resnet50")

    assert result.exit_code == 0
    for text in ("pool1_pool", "avg_pool", "int2", "float32", "1512.03385"):
        assert text in result.output


def test_show_computes_the_costs_of_another_input_size():
    result = run("show", "mobilenet_v2", "--input-size", "96", "--json")

    entry = json.loads(result.output[result.output.index("{") :])
    assert entry["input_shape"] == [96, 96, 3]
    assert entry["cuts"]["spliteasy"]["smashed"] == [[48, 48, 16]]
    assert entry["cuts"]["spliteasy"]["server_multiply_adds"] == 51_175_296
