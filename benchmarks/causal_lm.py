"""A language model learns adapters, split and whole: perplexity beside bytes.

    python benchmarks/causal_lm.py

The text is that of Python's own documentation strings, a token a byte. A small
GPT-2 of keras_hub learns those of single modules first, as one model and all of
it. Then its weights are frozen and LoRA adapters learn those of packages: as
one model, and cut in a U over gRPC with each coding. All begin with the same
weights and see the same batches. Perplexity is that of texts which none has
seen, bytes are those of the socket, both ways, in training.

The frames of each eighth step are searched for the tokens of its texts, which
are the labels as well; a phone that says one ends the benchmark.
"""

import argparse
import ast
import os
import sysconfig
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_hub
import numpy as np
from _report import Report
from _report import machine
from _report import write_option

import keras_split
from keras_split.compression import codecs
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames

LENGTH = 128  # tokens of a text
CUT = ["transformer_layer_0", "transformer_layer_2"]
# As what a number could travel; so many in a row are no accident.
ENCODINGS = ("uint8", "<u2", "<u4", "<u8", "<f2", "<f4")
RUN = 24
WATCHED = 8  # a step in so many


class Texts(NamedTuple):
    """Tokens and the tokens behind them, of shape `(texts, LENGTH)`."""

    tokens: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

    @property
    def x(self) -> dict[str, np.ndarray[Any, Any]]:
        """What the model takes."""
        mask = np.ones_like(self.tokens)
        return {"token_ids": self.tokens, "padding_mask": mask}

    def some(self, start: int, stop: int | None = None) -> "Texts":
        """A part of them."""
        return Texts(self.tokens[start:stop], self.labels[start:stop])


def docstrings(paths: Iterable[Path]) -> Iterator[str]:
    """Those of the modules, classes and functions of files."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in paths:
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # examples of what cannot be read
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield ast.get_docstring(node) or ""


def texts_of(pattern: str) -> Texts:
    """Documentation of Python's library: a byte a token, 0 left for padding."""
    library = Path(sysconfig.get_path("stdlib"))
    leave_out = {"site-packages", "dist-packages", "test"}
    paths = sorted(
        path
        for path in library.glob(pattern)
        if not leave_out & {*path.relative_to(library).parts}
    )
    found = [text for text in dict.fromkeys(docstrings(paths)) if text]
    order = np.random.default_rng(0).permutation(len(found))
    joined = "\n\n".join(found[i] for i in order).encode()
    tokens = np.frombuffer(joined, np.uint8).astype("int32") + 1
    count = (len(tokens) - 1) // LENGTH
    here = slice(count * LENGTH)
    shape = (count, LENGTH)
    return Texts(tokens[here].reshape(shape), tokens[1:][here].reshape(shape))


class Silence(keras_split.SessionTap):
    """Ends a run whose phone says tokens.

    Attributes:
        searched: How many frames.
    """

    def __init__(self) -> None:
        self.searched = 0
        self._runs: list[bytes] = []

    def watch(self, labels: np.ndarray[Any, Any]) -> None:
        """Looks for rows of these in any encoding, and for no others.

        They are in the inputs as well, one place behind.
        """
        self._runs = [
            row[:RUN].astype(kind).tobytes()
            for row in labels
            for kind in ENCODINGS
        ]

    def sent(self, message: Message) -> None:
        """Looks through the frames of a message."""
        assert not isinstance(message, LabeledStep)
        if not self._runs:
            return
        wire = convert.to_wire(message, codecs.get("raw"))
        for frame in frames.split(*wire):
            self.searched += 1
            assert not any(run in frame for run in self._runs)


class Watching(keras.callbacks.Callback):
    """Tells what the next batch is, and counts its bytes."""

    def __init__(self, texts: Texts, batch: int, silence: Silence) -> None:
        super().__init__()
        self._texts, self._batch, self._silence = texts, batch, silence

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """The batch that comes now."""
        here = slice(batch * self._batch, (batch + 1) * self._batch)
        found = self._texts.labels[here]
        self._silence.watch(found if batch % WATCHED == 0 else found[:0])

    def on_train_begin(self, logs: Any = None) -> None:
        """Bytes are counted from here."""
        self.before = self.bytes

    def on_train_end(self, logs: Any = None) -> None:
        """To here."""
        up, down = self.bytes
        self.up, self.down = up - self.before[0], down - self.before[1]

    @property
    def bytes(self) -> tuple[int, int]:
        """Up and down, so far."""
        strategy = self.model.strategy
        return strategy.uplink_bytes, strategy.downlink_bytes


def gpt2(weights: list[Any] | None = None, rank: int = 0) -> Any:
    """A GPT-2 of a million weights; with a rank, adapters alone train."""
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=257,
        num_layers=4,
        num_heads=4,
        hidden_dim=128,
        intermediate_dim=512,
        dropout=0.0,
        max_sequence_length=LENGTH,
    )
    if weights is not None:
        backbone.set_weights(weights)
    if rank:
        backbone.enable_lora(rank)
    return keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)


def compiled(model: Any, rate: float, **options: Any) -> Any:
    """For the next token."""
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    return model


def perplexity(model: Any, texts: Texts, batch: int) -> float:
    """Of texts: to how many tokens a guess amounts."""
    loss = model.evaluate(texts.x, texts.labels, batch_size=batch, verbose=0)
    return float(np.exp(loss))


class Run:
    """What is the same for all that learn adapters.

    Args:
        weights: Of the model before.
        train: What they learn.
        test: What they are judged by.
        options: Rank, rate and batch.
    """

    def __init__(
        self,
        weights: list[Any],
        train: Texts,
        test: Texts,
        options: argparse.Namespace,
    ) -> None:
        self._weights, self._train, self._test = weights, train, test
        self._options = options

    @property
    def model(self) -> keras.Model:
        """One that begins."""
        model = gpt2(self._weights, self._options.rank)
        return keras_split.fix_length(model, LENGTH)

    def whole(self) -> float:
        """Perplexity of the model that is not split."""
        return self._learnt(compiled(self.model, self._options.rate))

    def split(self, quantization: str) -> tuple[float, float, float]:
        """Perplexity of one that is, and bytes a token, up and down."""
        client, server = keras_split.compile(
            *(self.model, CUT),
            quantization=quantization,
            fused_batchnorm=False,
            share=["padding_mask"],
        )
        silence = Silence()
        watching = Watching(self._train, self._options.batch, silence)
        with server.serve(port=0) as running:
            strategy = keras_split.SplitStrategy(
                f"grpc://{running.target}", taps=[silence]
            )
            compiled(client, self._options.rate, strategy=strategy)
            found = self._learnt(client, watching)
            client.close()
        assert silence.searched
        count = self._train.tokens.size
        return found, watching.up / count, watching.down / count

    def _learnt(self, model: Any, *callbacks: Any) -> float:
        model.fit(
            self._train.x,
            self._train.labels,
            batch_size=self._options.batch,
            shuffle=False,
            verbose=0,
            callbacks=[*callbacks],
        )
        return perplexity(model, self._test, self._options.batch)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--texts", type=int, default=3200)
    parser.add_argument("--test", type=int, default=320)
    parser.add_argument("--before", type=int, default=6400)
    parser.add_argument(
        "--rules", nargs="*", default=["float32", "float16", "int8", "int4"]
    )
    write_option(parser)
    options = parser.parse_args()
    report = Report("causal-lm", write=options.write)
    first, second = texts_of("*.py"), texts_of("*/*.py")
    test, train = second.some(0, options.test), second.some(options.test)
    before, train = first.some(0, options.before), train.some(0, options.texts)
    task = gpt2()
    model = compiled(keras_split.fix_length(task, LENGTH), 1e-3)
    model.fit(before.x, before.labels, batch_size=options.batch, verbose=0)
    weights = task.backbone.get_weights()
    begun = perplexity(model, test, options.batch)
    run = Run(weights, train, test, options)
    whole = run.whole()
    report.say(
        f"{machine()}; {len(before.tokens):,} texts of {LENGTH} tokens before, "
        f"{len(train.tokens):,} for the adapters (rank {options.rank}, batch "
        f"{options.batch}, Adam at {options.rate:g}), {len(test.tokens):,} to "
        f"judge by. Perplexity before the adapters {begun:.3f}."
    )
    report.header(
        *("", "perplexity:", "beside whole:", "up B/token:", "down B/token:")
    )
    report.row("whole", f"{whole:.3f}", "", "", "")
    for rule in options.rules:
        found, up, down = run.split(rule)
        off = f"{found / whole - 1:+.2%}"
        report.row(f"split, {rule}", f"{found:.3f}", off, *_bytes(up, down))
    report.end()
    report.close()


def _bytes(*each: float) -> list[str]:
    return [f"{count:,.0f}" for count in each]


if __name__ == "__main__":
    main()
