"""Checks what comes before anything is computed with it, and what goes."""

import functools
from collections.abc import Sequence

from keras_split.compression.formats import floats_are_finite
from keras_split.compression.rules import Rule
from keras_split.compression.shared import BITS
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import ProtocolError
from keras_split.protocol.contract import Contract
from keras_split.protocol.difference import difference
from keras_split.protocol.difference import shape_text
from keras_split.protocol.difference import short
from keras_split.protocol.difference import specs_text
from keras_split.protocol.optimizer_config import LEARNING_RATE
from keras_split.utils.counted import counted

# Reasons of a step that was not taken because it would have done harm; the
# client logs its loss as NaN and goes on.
NOT_TAKEN = ("not-finite", "norm")


def check_contract(theirs: Contract, ours: Contract) -> None:
    """Refuses a client that was cut from another model, or otherwise.

    One whose sequences have one of several lengths is welcome.

    Raises:
        ProtocolError: With reason `"fingerprint"`, `"cut"`,
            `"quantization"` or `"codec"`.
    """
    found = difference(theirs, ours)
    if found is not None:
        reason, text = found
        raise ProtocolError(text, reason)


def check_tensors(
    tensors: Sequence[CutTensor], specs: Sequence[TensorSpec], rule: Rule
) -> int:
    """Refuses tensors that are not what the contract says.

    Returns:
        The batch size.

    Raises:
        ProtocolError: With reason `"shape"` or `"not-finite"`.
    """
    if [t.name for t in tensors] != [s.name for s in specs]:
        raise ProtocolError(
            f"Expected tensors {[s.name for s in specs]}. Received: "
            f"{[t.name for t in tensors]}.",
            "shape",
        )
    batch = tensors[0].shape[0] if tensors and tensors[0].shape else 0
    for tensor, spec in zip(tensors, specs, strict=True):
        expected = (batch, *spec.shape)
        if tensor.shape != expected:
            raise ProtocolError(
                f"Expected {spec.name!r} of shape "
                f"{shape_text('batch', *spec.shape)}, the same batch in every "
                f"tensor. Received: {tensor.shape}.",
                "shape",
            )
        if batch < 1:
            raise ProtocolError(
                f"Expected one example or more in {spec.name!r}. Received: a "
                f"batch of 0, shape {tensor.shape}. Send no step for it.",
                "shape",
            )
        codes, rows = _packed(rule, batch, spec.shape)
        scales = None if tensor.scales is None else tensor.scales.shape
        if (
            tensor.codes.shape != codes
            or tensor.codes.dtype != rule.code_dtype
            or scales != ((rows, 2) if rows else None)
        ):
            raise ProtocolError(
                f"Expected {spec.name!r} as {rule.code_dtype} codes {codes} "
                f"with {rows} rows of scales. Received: "
                f"{tensor.codes.dtype} codes {tensor.codes.shape}, scales "
                f"{scales}. Both sides must use the same quantization.",
                "shape",
            )
        if not is_finite(tensor, rule):
            raise ProtocolError(
                f"Expected finite numbers in {spec.name!r}. Received: NaN or "
                "infinity. Lower the learning rate, or look for a batch with "
                "broken inputs.",
                "not-finite",
            )
    return batch


def check_length(tensors: Sequence[CutTensor], contract: Contract) -> Contract:
    """What the contract says for the length of sequences that came.

    Args:
        tensors: Smashed data, and shared inputs behind it.
        contract: May have several lengths.

    Raises:
        ProtocolError: With reason `"shape"`, if they have none of them.
    """
    found = contract.of(tensors)
    names = [spec.name for spec in contract.smashed]
    names += [spec.name for spec in contract.shared]
    if found.buckets and names == [tensor.name for tensor in tensors]:
        came = [f"{t.name!r} {shape_text(*t.shape[1:])}" for t in tensors]
        raise ProtocolError(
            "Expected sequences padded to a length of "
            f"{', '.join(map(str, contract.lengths))}: the longest are "
            f"{specs_text(contract.smashed)}. Received: "
            f"{short(', '.join(came))}. Pad all tensors of a batch to one of "
            "these lengths.",
            "shape",
        )
    return found


def check_shared(
    tensors: Sequence[CutTensor], specs: Sequence[SharedSpec], batch: int
) -> None:
    """Refuses shared inputs that are not what the contract says.

    Args:
        tensors: What came behind the smashed data.
        specs: Of the contract.
        batch: Examples of the smashed data.

    Raises:
        ProtocolError: With reason `"shape"` or `"not-finite"`.
    """
    if [t.name for t in tensors] != [s.name for s in specs]:
        raise ProtocolError(
            "Expected the shared inputs "
            f"{[s.name for s in specs]} behind the smashed data. Received: "
            f"{[t.name for t in tensors]}. Cut both halves with the same "
            "share=.",
            "shape",
        )
    for tensor, spec in zip(tensors, specs, strict=True):
        codes = (batch, spec.codes_per_example)
        shape = (batch, *spec.shape)
        if (
            tensor.shape != shape
            or tensor.codes.shape != codes
            or tensor.codes.dtype != spec.code_dtype
            or tensor.scales is not None
        ):
            raise ProtocolError(
                f"Expected the shared input {spec.name!r} of shape {shape} as "
                f"{spec.code_dtype} codes {codes}. Received: shape "
                f"{tensor.shape}, {tensor.codes.dtype} codes "
                f"{tensor.codes.shape}. Pack it as its contract says.",
                "shape",
            )
        if not floats_are_finite(tensor.codes):
            raise ProtocolError(
                f"Expected finite numbers in the shared input {spec.name!r}. "
                "Received: NaN or infinity. Look for a batch with broken "
                "inputs.",
                "not-finite",
            )


def check_ids(
    tensors: Sequence[CutTensor],
    specs: Sequence[SharedSpec],
    rows: Sequence[int | None],
) -> None:
    """Refuses shared inputs with numbers that the body cannot look up.

    Args:
        tensors: Which passed `check_shared`.
        specs: Of the contract.
        rows: Of the table that each is looked up in; None for none.

    Raises:
        ProtocolError: With reason `"shape"`.
    """
    for tensor, spec, count in zip(tensors, specs, rows, strict=True):
        if count is None or not tensor.codes.size:
            continue
        least, largest = int(tensor.codes.min()), int(tensor.codes.max())
        if spec.packing == BITS:
            largest = min(largest, 1)
        for value in (largest, least):
            check_id(spec.name, value, count)


def check_id(name: str, value: int, rows: int) -> None:
    """Refuses a number that a table of so many rows has not.

    Negative ones count from its end, as Keras has it.

    Raises:
        ProtocolError: With reason `"shape"`.
    """
    if not -rows <= value < rows:
        raise ProtocolError(
            f"Expected numbers from 0 to {rows - 1} in the shared input "
            f"{name!r}, which the body looks up in a table of so many rows. "
            f"Received: {value}. Look at the data, and at the vocabulary that "
            "the model was made for.",
            "shape",
        )


@functools.lru_cache(maxsize=256)  # it is the same in step after step
def _packed(
    rule: Rule, batch: int, shape: tuple[int, ...]
) -> tuple[tuple[int, int], int]:
    """Shape of the codes of a tensor, and number of rows of its scales."""
    codes = rule.codes_per_example(shape)
    return (batch, codes), rule.scale_rows(batch, shape)


def check_labels(labels: Sequence[CutTensor], batch: int) -> None:
    """Refuses labels or sample weights that do not belong to the batch.

    Raises:
        ProtocolError: With reason `"shape"` or `"not-finite"`.
    """
    for label in labels:
        if label.codes.shape[:1] != (batch,):
            raise ProtocolError(
                f"Expected {label.name!r} of {counted(batch, 'example')}, as "
                f"many as the smashed data. Received: shape "
                f"{label.codes.shape}.",
                "shape",
            )
        if not floats_are_finite(label.codes):
            raise ProtocolError(
                f"Expected finite numbers in {label.name!r}. Received: NaN or "
                "infinity. Look for a batch with broken labels.",
                "not-finite",
            )


def check_finite(
    tensors: list[CutTensor], rule: Rule, shared: int = 0
) -> list[CutTensor]:
    """Passes on what may be sent, of tensors that `rule` made.

    Args:
        tensors: What would be sent.
        rule: Made all but the last ones.
        shared: How many of those, at the end, are inputs as they are.

    Raises:
        ProtocolError: With reason `"not-finite"`.
    """
    for tensor in tensors[: len(tensors) - shared]:
        if not is_finite(tensor, rule):
            raise not_finite(f"{tensor.name!r}")
    for tensor in tensors[len(tensors) - shared :]:
        if not floats_are_finite(tensor.codes):
            raise not_finite(f"{tensor.name!r}")
    return tensors


def not_finite(what: str) -> ProtocolError:
    """The error of a step that must not be sent."""
    return ProtocolError(
        f"Expected a finite {what}. Received: NaN or infinity. The step was "
        "not taken; lower the learning rate, or look for a broken batch.",
        "not-finite",
    )


def diverged(where: str) -> ProtocolError:
    """The error of a body whose features are not finite."""
    return ProtocolError(
        "Expected finite features from the body. Received: NaN or infinity "
        f"in {where}: the body has diverged. Lower the learning rate and "
        "restore its weights.",
        "not-finite",
    )


def is_finite(tensor: CutTensor, rule: Rule) -> bool:
    """Whether no NaN and no infinity would come out of `tensor`.

    Positions of blocks, which stand before the codes, may be anything.
    """
    codes = tensor.codes
    if rule.position_bits:
        codes = codes[:, rule.position_bytes(tensor.shape[1:]) :]
    return rule.format.is_finite(codes, tensor.scales)


def check_learning_rate(value: float) -> None:
    """Refuses a learning rate that no optimizer is to have.

    Raises:
        ProtocolError: With reason `"learning-rate"`.
    """
    if not LEARNING_RATE.low <= float(value) <= LEARNING_RATE.high:
        raise ProtocolError(
            "Expected a learning rate of 0 or more, and of at most "
            f"{LEARNING_RATE.high:g}. Received: {value}. Look at "
            "the optimizer and its schedule.",
            "learning-rate",
        )


def check_smashed_norm(norm: float, limit: float) -> None:
    """Refuses smashed data that would carry the body's statistics away.

    Raises:
        ProtocolError: With reason `"norm"`.
    """
    if norm > limit:
        raise ProtocolError(
            "Expected smashed data with a norm of at most "
            f"{limit:g}. Received: {norm:g}. Scale the inputs of the model, "
            "or start the server with a larger --max-smashed-norm.",
            "norm",
        )
