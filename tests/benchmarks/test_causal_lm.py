"""A language model beside its bytes, as small as it can be."""

import sys
from pathlib import Path

import numpy as np
import pytest

from keras_split.compression.tensors import CutTensor
from keras_split.protocol.messages import Infer

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("keras_hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))  # as for a script that is run
        import causal_lm

        yield causal_lm


@pytest.mark.long
def test_it_prints_its_table(benchmark, monkeypatch, capsys):
    small = ["--before", "8", "--texts", "8", "--test", "4", "--batch", "4"]
    monkeypatch.setattr(sys, "argv", ["", *small, "--rules", "int8"])

    benchmark.main()

    lines = capsys.readouterr().out.splitlines()
    whole, split = (line.split("|")[1:-1] for line in lines[-3:-1])
    assert whole[0].strip() == "whole" and split[0].strip() == "split, int8"
    assert abs(float(split[1]) / float(whole[1]) - 1) < 0.01
    # Two cuts of 128 numbers a token, and what describes them.
    assert all(255 < float(each) < 300 for each in split[3:])


@pytest.mark.parametrize("kind", ["uint8", "int32", "float32"])
def test_a_phone_that_says_its_labels_is_heard(benchmark, kind):
    labels = np.arange(2 * 128, dtype="int32").reshape(2, 128) % 256 + 1
    said = np.zeros((2, 300), kind)
    said[1, 7 : 7 + 128] = labels[1]
    silence = benchmark.Silence()
    silence.watch(labels)

    silence.sent(Infer("s", [CutTensor("a", said.shape, said[:1])]))
    with pytest.raises(AssertionError):
        silence.sent(Infer("s", [CutTensor("a", said.shape, said)]))

    assert silence.searched == 2
