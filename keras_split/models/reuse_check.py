"""Whether what a client sends can be what it has sent before."""

from typing import Any

from keras_split.errors import OptionError


def check_reuse(client: Any) -> None:
    """Refuses reuse where an example is sent as something else each time.

    The numbers would be right; there would be nothing to reuse, and the
    server would keep it all the same.

    Args:
        client: A `keras_split.ClientModel`.

    Raises:
        OptionError: If so.
    """
    if not client.strategy.reuse:
        return
    found = _changing(client)
    if found:
        raise OptionError(
            "Expected a head that sends the same of an example in every step, "
            f"for reuse=True. Received: {found}. Or leave reuse out."
        )


def _changing(client: Any) -> str:
    """What changes what is sent, and what to do; empty if nothing does."""
    head, cut = client.head, client.contract.cut[0]
    if lengths := client.contract.lengths:
        return (
            f"sequences of several lengths, {', '.join(map(str, lengths))}. "
            "Compile with one: keras_split.fix_length(model, length)"
        )
    rule = client.contract.quantization.activations
    trained = head.trainable_variables
    if trained:
        return (
            f"one that trains {trained[0].path!r}. Freeze all layers up to "
            f"{cut!r} (layer.trainable = False) and compile again"
        )
    drawn = [v for v in head.variables if "seed_generator" in v.path]
    if drawn:
        return (
            f"one that draws random numbers, with {drawn[0].path!r}. Take the "
            f"layer out, set its rate to 0, or cut before it"
        )
    if rule.rounding == "stochastic" and rule.has_scales:
        return "stochastic rounding of activations. Round to nearest"
    for defense in client.defenses.defenses:
        if "smashed" in defense.where:
            return (
                f"the defense {defense.name!r} of smashed data, which may draw "
                "anew in each step. Take one of gradients or labels"
            )
    return ""
