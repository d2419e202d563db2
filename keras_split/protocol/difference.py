"""What two contracts differ in, in the words of who made the halves."""

from collections.abc import Sequence
from dataclasses import asdict

from keras_split.compression.rules import Rule
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import TensorSpec
from keras_split.protocol.contract import Contract

_CUT = "Another --cut, or another preset."
_NARROW = "_code"  # how the names of layers of a bottleneck end
_MADE = (
    "Name the same on both sides, or export both halves from one "
    "keras_split.compile."
)
_ADVICE = {
    "quantization": "Pass the same quantization on both sides.",
    "codec": "Pass the same codec on both sides; one of another package is "
    "registered on both with keras_split.codecs.register.",
}


def difference(theirs: Contract, ours: Contract) -> tuple[str, str] | None:
    """The first thing that a client's contract says otherwise.

    One of several lengths of sequences is no difference.

    Args:
        theirs: The client's.
        ours: The server's.

    Returns:
        A reason of `ProtocolError` and its text; None if they agree.
    """
    wanted, given = _terms(ours.like(theirs)), _terms(theirs)
    parts = [part for part in wanted if wanted[part] != given[part]]
    if theirs.fingerprint != ours.fingerprint:
        parts = [part for part in parts if part not in _ADVICE]
        text = (
            _of_cut(parts[0], wanted, given, theirs, ours)
            if parts
            else _of_layers(theirs, ours)
        )
        return "fingerprint", (
            f"{text} {_MADE} (Fingerprint {ours.fingerprint[:12]} on the "
            f"server, {theirs.fingerprint[:12]} on the phone.)"
        )
    if not parts:
        return None
    reason = parts[0].partition(",")[0]
    if reason not in _ADVICE:
        text = _of_cut(parts[0], wanted, given, theirs, ours)
        return "cut", f"{text} {_MADE}"
    return reason, (
        f"Expected {parts[0]}{':' if ',' in parts[0] else ''} "
        f"{short(wanted[parts[0]])}. Received: {short(given[parts[0]])}. "
        f"{_ADVICE[reason]}"
    )


def shape_text(*axes: object) -> str:
    """A shape in words, such as `(batch, 8, 8, 4)`."""
    return f"({', '.join(map(str, axes))})"


def specs_text(specs: Sequence[TensorSpec]) -> str:
    """Names and shapes of tensors, such as `'conv' (8, 8, 4)`."""
    return (
        ", ".join(f"{s.name!r} {shape_text(*s.shape)}" for s in specs) or "none"
    )


def short(value: object) -> str:
    """A text that others can make as long as they like, cut off."""
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."


def _terms(contract: Contract) -> dict[str, str]:
    """What two contracts must have in common, the more telling ones first."""
    rules = contract.quantization
    on_server = contract.labels_on_server
    return {
        "the cut at": ", ".join(map(repr, contract.cut)),
        "smashed data": specs_text(contract.smashed),
        "features": specs_text(contract.features),
        "labels": "on the server" if on_server else "on the phone",
        "shared inputs": _shared(contract.shared),
        "quantization": str(rules),
        "quantization, activations": _rule(rules.activations),
        "quantization, gradients": _rule(rules.gradients),
        "codec": contract.codec_name,
    }


def _of_cut(
    part: str,
    wanted: dict[str, str],
    given: dict[str, str],
    theirs: Contract,
    ours: Contract,
) -> str:
    """Says a term of two cuts, and which option most likely made it."""
    cause = {
        "the cut at": _of_names(theirs.cut, ours.cut),
        "smashed data": _of_shapes(theirs.smashed, ours.smashed),
        "features": _of_shapes(theirs.features, ours.features),
        "labels": _CUT,
        "shared inputs": "Another --share.",
    }[part]
    return (
        f"Expected {part} {short(wanted[part])}, as on the server. Received: "
        f"{short(given[part])}. {cause}"
    )


def _of_names(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """Which option makes another cut; a bottleneck is seen by its name."""
    narrow = [any(n.endswith(_NARROW) for n in cut) for cut in (theirs, ours)]
    if narrow[0] == narrow[1]:
        return _CUT
    return (
        "A --bottleneck on one side alone (quantization small and tiny bring "
        "one)."
    )


def _of_shapes(theirs: Sequence[TensorSpec], ours: Sequence[TensorSpec]) -> str:
    """Which options make other shapes, by the axes that differ."""
    ranks = [len(spec.shape) for spec in ours]
    if not ranks or ranks != [len(spec.shape) for spec in theirs]:
        return _CUT
    pairs = [(t.shape, o.shape) for t, o in zip(theirs, ours, strict=True)]
    causes = []
    if any(t[:-1] != o[:-1] for t, o in pairs):
        size = "--sequence-length" if max(ranks) == 2 else "--input-size"
        causes.append(size)
    if any(t[-1:] != o[-1:] for t, o in pairs):
        causes.append(
            "--bottleneck (quantization small and tiny bring one) or preset"
        )
    return f"Another {' and another '.join(causes)}." if causes else _CUT


def _of_layers(theirs: Contract, ours: Contract) -> str:
    """Of models that differ where no tensor of the cuts shows it."""
    lengths = ""
    if theirs.lengths != ours.lengths:
        lengths = (
            f" Lengths of sequences: {_lengths(ours)} on the server, "
            f"{_lengths(theirs)} on the phone."
        )
    return (
        "Expected the layers of the server's model. Received: others, though "
        f"the cut and what travels there are the same.{lengths} Most likely "
        "another number of classes (--classes) or --batchnorm-momentum; else "
        "an --input-size that is a few pixels off, --vocabulary-size, or "
        "another version of Keras."
    )


def _lengths(contract: Contract) -> str:
    return ", ".join(map(str, contract.lengths)) or "one"


def _shared(specs: Sequence[SharedSpec]) -> str:
    """Such as `'padding_mask' (12), int32 as bits`."""
    return (
        ", ".join(
            f"{s.name!r} {shape_text(*s.shape)}, {s.dtype} as {s.packing}"
            for s in specs
        )
        or "none"
    )


def _rule(rule: Rule) -> str:
    """All fields of a rule, such as `dtype int8, granularity example`."""
    return ", ".join(f"{k} {v}" for k, v in asdict(rule).items())
