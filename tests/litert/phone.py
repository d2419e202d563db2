"""A phone in a few lines: one training step with the signatures of a file."""

import json
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_split.compression.tensors import CutTensor
from keras_split.protocol.contract import Contract


class Phone:
    """Drives an exported file against the server of its client.

    It fills partial batches up as docs/on-the-phone.md says.
    """

    def __init__(self, path, strategy=None):
        self.about = json.loads(Path(path).with_suffix(".json").read_text())
        self.contract = Contract.from_config(self.about["contract"])
        self.size = self.about["batch_size"]
        self.strategy = strategy
        self.taken = 0
        self._interpreter = Interpreter(model_path=str(path))

    def call(self, name, **given):
        runner = self._interpreter.get_signature_runner(name)
        wanted = runner.get_input_details()
        # LiteRT rejects inputs that a signature does not have.
        return runner(**{k: v for k, v in given.items() if k in wanted})

    def state(self):
        """Every tensor of the state by the path of its Keras variable."""
        made = self.call("get_state")
        return {
            (row["variable"], row["kind"]): made[row["name"]]
            for row in self.about["state"]
            if row["kind"] != "slot"
        }

    def step(self, inputs, labels, weights=None, rate=0.1):
        """One training step; returns what `tail_step` said of it."""
        count = len(labels[0])
        given = {f"x_{i}": self._fill(x) for i, x in enumerate(inputs)}
        given |= {f"y_{i}": self._fill(y) for i, y in enumerate(labels)}
        for i in range(len(labels)):
            w = np.ones(count) if weights is None else weights
            given[f"sample_weight_{i}"] = self._fill(w.astype("float32"))
        given["count"] = np.int32(count)
        given["step"] = np.int32(self.taken)
        given["learning_rate"] = np.float32(rate)
        made = self.call("head_forward", **given)
        given |= {k: v for k, v in made.items() if k.startswith("skip")}
        smashed = self._tensors("smashed", made, count, "activations")
        features, penalty = self.strategy.forward(smashed)
        given |= self._parts("features", features)
        told = self.call("tail_step", **given)
        given |= {k: v for k, v in told.items() if "grad_" in k}
        grads = self._tensors("features_grad", told, count, "gradients")
        back = self.strategy.backward(grads, rate)
        given |= self._parts("smashed_grad", back)
        self.call("head_backward", **given)
        self.taken += 1
        told["loss"] = told["loss"] + made["penalty"] + penalty
        return told

    def _fill(self, rows):
        rows = np.asarray(rows)
        return np.concatenate([rows, rows[:1].repeat(self.size - len(rows), 0)])

    def _tensors(self, kind, made, count, which):
        specs = self.contract.features
        if kind == "smashed":
            specs = self.contract.smashed
        rule = getattr(self.contract.quantization, which)
        tensors = []
        for i, spec in enumerate(specs):
            scales = made.get(f"{kind}_{i}_scales")
            if rule.granularity == "example" and scales is not None:
                scales = scales[:count]
            codes = made[f"{kind}_{i}_codes"][:count]
            shape = (count, *spec.shape)
            tensors.append(CutTensor(spec.name, shape, codes, scales))
        return tensors

    def _parts(self, kind, tensors):
        named = {}
        for i, tensor in enumerate(tensors):
            named[f"{kind}_{i}_codes"] = self._fill(tensor.codes)
            if tensor.scales is not None:
                scales = tensor.scales
                if len(scales) == len(tensor.codes):
                    scales = self._fill(scales)
                named[f"{kind}_{i}_scales"] = scales
        return named
