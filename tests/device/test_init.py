import subprocess
import sys

CODE = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(name)


sys.meta_path.insert(0, Blocked())
import keras_split.client.session
import keras_split.device
import keras_split.server.in_process
print(sorted(keras_split.device.__all__))
"""
HEAVY = ["tensorflow", "keras", "tf_keras", "ai_edge_litert"]
OTHERS = ["click", "rich", "PIL", "grpc_health", "grpc_reflection"]


def test_it_imports_neither_tensorflow_nor_anything_it_does_not_need():
    code = CODE.format(blocked=HEAVY + OTHERS)

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )

    names = (
        "['Client', 'Description', 'FederatedAveraging', 'HijackDetector', "
        "'batches']"
    )
    assert result.stdout.strip() == names, result.stderr
