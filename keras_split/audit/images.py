"""How near reconstructions are to what the phone has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.audit.scene import Examples
from keras_split.errors import DataError

_Array = np.ndarray[Any, Any]
_AT_ONCE = 200
# So that a perfect reconstruction has a PSNR, of 60 dB.
_LEAST_ERROR = 1e-6


@dataclass(frozen=True)
class Likeness:
    """How near reconstructions are to the originals.

    Attributes:
        mse: Mean squared error; of images after their range was mapped to 0
            to 1, of others in the square of their unit.
        match: Which part of the reconstructions is nearer to its original
            than to any other one. By chance that is `1 / among`.
        among: How many originals there were to match with.
        psnr: Mean over the images, in dB; None for what is no image.
        ssim: Mean over the images, 1 for equal ones; None likewise.
    """

    mse: float
    match: float
    among: int
    psnr: float | None = None
    ssim: float | None = None


def is_image(shape: Sequence[int]) -> bool:
    """Whether an example `(height, width, 1 or 3)` can be looked at."""
    return len(shape) == 3 and shape[2] in (1, 3) and min(shape[:2]) > 2


def bounds_of(x: _Array) -> tuple[float, float]:
    """The lowest and the highest value of examples.

    Raises:
        DataError: If all are the same, or one is not finite.
    """
    low, high = float(np.min(x)), float(np.max(x))
    if not np.isfinite(high - low) or low == high:
        raise DataError(
            "Expected examples of finite values that differ, to say how near "
            f"a reconstruction is. Received: values from {low} to {high}. "
            "Look at how the data is loaded."
        )
    return low, high


def likeness(
    truth: _Array, guess: _Array, bounds: tuple[float, float]
) -> Likeness:
    """How near reconstructions are to the originals.

    SSIM is that of Wang et al. (2004) with a Gaussian window of 11 pixels, or
    the largest odd number that fits in the image.

    Args:
        truth: The phone's examples, shape `(among, ...)`.
        guess: Reconstructions of the first of them, `(examples, ...)`. Images
            are clipped to `bounds`.
        bounds: Lowest and highest value of such data, see `bounds_of`.

    Raises:
        DataError: If shapes differ, or a reconstruction is not finite.

    Example:
    >>> x = np.random.default_rng(0).uniform(size=(8, 16, 16, 1))
    >>> likeness(x, x, (0.0, 1.0))
    Likeness(mse=0.0, match=1.0, among=8, psnr=60.0, ssim=1.0)
    """
    truth, guess = np.asarray(truth, "float32"), np.asarray(guess, "float32")
    if guess.shape[1:] != truth.shape[1:] or not 0 < len(guess) <= len(truth):
        raise DataError(
            f"Expected reconstructions of the first of {len(truth)} examples "
            f"of shape {truth.shape[1:]}. Received: {guess.shape}."
        )
    if not np.isfinite(guess).all():
        raise DataError(
            "Expected reconstructions of finite values. Received: some that "
            "are not, so the attack diverged. Lower its learning rate, or "
            "leave it out."
        )
    image = is_image(truth.shape[1:])
    if image:
        low, high = bounds
        truth = np.clip((truth - low) / (high - low), 0, 1)
        guess = np.clip((guess - low) / (high - low), 0, 1)
    mine = truth[: len(guess)]
    errors = ((mine - guess) ** 2).reshape(len(guess), -1).mean(1, "float64")
    mse, match = float(errors.mean()), _match(truth, guess)
    if not image:
        return Likeness(mse, match, len(truth))
    psnr = float(-10 * np.log10(np.maximum(errors, _LEAST_ERROR)).mean())
    return Likeness(mse, match, len(truth), psnr, _ssim(mine, guess))


def baselines(public: Examples, truth: Examples) -> dict[str, _Array]:
    """What somebody would guess who has public data and no smashed data.

    Args:
        public: Data of the same kind.
        truth: What is to be guessed.

    Returns:
        `"mean image"`, the same for all, and `"class mean"`, that of the
        example's class, which takes its label; shape `(examples, ...)`.
    """
    mean = public.x.mean(0)
    means = {
        int(name): public.x[public.y == name].mean(0)
        for name in np.unique(public.y)
    }
    return {
        "mean image": np.broadcast_to(mean, truth.x.shape),
        "class mean": np.stack([means.get(int(y), mean) for y in truth.y]),
    }


def _match(truth: _Array, guess: _Array) -> float:
    # Without their mean, so that less of float32 is lost in differences.
    middle = truth.reshape(len(truth), -1).mean(0)
    a = truth.reshape(len(truth), -1) - middle
    length = (a * a).sum(1)
    hits = 0
    for begin in range(0, len(guess), _AT_ONCE):
        part = guess[begin : begin + _AT_ONCE]
        b = part.reshape(len(part), -1) - middle
        # Squared distance, but for the length of the guess.
        far = length - 2 * b @ a.T
        own = far[np.arange(len(b)), begin + np.arange(len(b))]
        # Equal originals are as good as one another.
        hits += int((own <= far.min(1) + 1e-6 * length.max()).sum())
    return hits / len(guess)


def _ssim(truth: _Array, guess: _Array) -> float:
    side = min(truth.shape[1:3])
    window = min(11, side - (side % 2 == 0))
    parts = [
        tf.image.ssim(
            truth[begin : begin + _AT_ONCE],
            guess[begin : begin + _AT_ONCE],
            1.0,
            filter_size=window,
        ).numpy()
        for begin in range(0, len(guess), _AT_ONCE)
    ]
    return float(np.concatenate(parts).mean())
