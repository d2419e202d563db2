"""One training of a LiteRT-only phone, with all that goes on around it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from keras_split.utils.counted import counted
from keras_split_cli.console import size
from keras_split_cli.console import tell
from keras_split_cli.federation_options import Federation
from keras_split_cli.federation_options import who
from keras_split_cli.patience import Patience
from keras_split_cli.progress_bar import ProgressBar
from keras_split_cli.training_options import tell_best

if TYPE_CHECKING:
    from keras_split.device import Client
    from keras_split.device import FederatedAveraging
    from keras_split.device.arrays import Batches

_STEP = ("head_forward", "tail_step", "head_backward", "server")


class DeviceFitting:
    """Trains some epochs, shows how, and keeps the state of each.

    Args:
        client: The phone.
        batches: To train on.
        held_back: To validate with; None for nothing.
        done: Epochs that were done before.
        epochs: How many more.
        state: File for the state; None to keep none.
        stopping: Says when to stop early; None for not.
    """

    def __init__(
        self,
        client: "Client",
        batches: "Batches",
        held_back: "Batches | None",
        done: int,
        epochs: int,
        state: str | None = None,
        stopping: "Stopping | None" = None,
    ) -> None:
        self._client = client
        self._batches = batches
        self._held_back = held_back
        self._done = done
        self._last = done + epochs
        self._state = state
        self._stopping = stopping
        self._account = _Account(client)
        self._bar: ProgressBar | None = None
        self._waits = ""
        self._images = 0

    def fit(
        self,
        learning_rate: float | None,
        federation: Federation | None,
        *,
        detect_hijack: bool = False,
    ) -> None:
        """Trains, and says in the end what it cost.

        Args:
            learning_rate: None for the one of the export.
            federation: How it trains one model with other phones, if it does.
            detect_hijack: Whether the server's gradients are checked.
        """
        from keras_split.device import HijackDetector

        if federation is not None:
            self._client.connect()
            info = self._client.session.connection.cohort
            if info is not None:
                tell(who(info, federation))
            self._waits = ", waiting for the other phones"
        try:
            self._begin(self._done)
            self._client.fit(
                self._batches,
                self._last - self._done,
                learning_rate=learning_rate,
                on_batch=self._on_batch,
                on_epoch=self._on_epoch,
                federate=_averaging(federation),
                detector=HijackDetector() if detect_hijack else None,
                verbose=False,
            )
        finally:
            self._stop_bar()
        self._account.print(self._images, "at most " if federation else "")
        if self._stopping is not None:
            self._stopping.restore(self._done)
            if self._state is not None:
                self._client.save_state(self._state)

    def _begin(self, epoch: int) -> None:
        self._name = f"Epoch {epoch + 1}"
        self._bar = ProgressBar(self._name + self._waits, len(self._batches))
        self._bar.__enter__()
        self._account.begin()

    def _stop_bar(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.__exit__()

    def _on_batch(self, number: int, logs: dict[str, float]) -> None:
        assert self._bar is not None
        self._bar.text = self._name
        self._bar.advance(number, logs)

    def _on_epoch(self, number: int, logs: dict[str, float]) -> bool:
        """Validates, prints and keeps; whether to go on."""
        from keras_split.device.averages import line

        self._account.end()
        self._images += self._batches.examples
        self._stop_bar()
        client, epoch = self._client, self._done + number
        if self._held_back is not None:
            with ProgressBar("Validation", len(self._held_back)) as bar:
                scores = client.evaluate(_counted(self._held_back, bar.advance))
            logs |= {f"val_{name}": v for name, v in scores.items()}
        tell(f"Epoch {epoch + 1}/{self._last}: {line(logs)}")
        if self._state is not None:
            client.save_state(self._state)
        stopping = self._stopping
        if stopping is not None and stopping.see(logs["val_loss"]):
            return False
        if epoch + 1 < self._last:
            self._begin(epoch + 1)
        return True


class _Account:
    """Adds up time and bytes of the training alone."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._uplink = self._downlink = self._calls = 0
        self._seconds = dict.fromkeys(_STEP, 0.0)

    def begin(self) -> None:
        """Counts from here."""
        self._add(-1)

    def end(self) -> None:
        """Counts until here."""
        self._add(1)

    def _add(self, sign: int) -> None:
        self._uplink += sign * self._client.uplink_bytes
        self._downlink += sign * self._client.downlink_bytes
        laps = self._client.laps
        for name in set(_STEP) & set(laps):
            self._seconds[name] += sign * laps[name].seconds
        if "head_forward" in laps:
            self._calls += sign * laps["head_forward"].calls

    def print(self, images: int, most: str = "") -> None:
        """Prints what a step and an image cost.

        Args:
            images: That were trained on.
            most: Said before the images of a step, where some have fewer.
        """
        from keras_split.device.memory import peak_bytes

        calls = max(self._calls, 1)
        each = {n: s * 1000 / calls for n, s in self._seconds.items()}
        parts = ", ".join(f"{n} {ms:.1f}" for n, ms in each.items())
        tell(
            f"A step of {most}{counted(self._client.batch_size, 'image')} took "
            f"{sum(each.values()):.1f} ms on average: {parts} (with the "
            "network)\n"
            f"An image took {size(self._uplink / images)} up and "
            f"{size(self._downlink / images)} down"
        )
        peak = peak_bytes()
        if peak:
            tell(f"Peak memory {size(peak)}")


class Stopping:
    """Ends a training whose validation loss no longer falls."""

    def __init__(self, client: "Client", epochs: int, folder: str) -> None:
        self._client = client
        self._patience = Patience(epochs)
        self._best = Path(folder) / "best.npz"
        self._seen = 0

    def see(self, loss: float) -> bool:
        """Takes the loss of an epoch; whether to stop."""
        self._seen += 1
        if self._patience.see(loss):
            self._client.save_state(self._best)
        return self._patience.over

    def restore(self, done: int) -> None:
        """Brings the best epoch back, in both halves.

        Args:
            done: Epochs that were done before.
        """
        best = self._patience.best_epoch
        if best is not None and best + 1 < self._seen:
            self._client.load_state(self._best)
        stays = None if best is None else best + 1 + done
        tell_best(stays, self._patience.over)


def _counted(batches: "Batches", advance: Callable[..., None]) -> Any:
    for number, batch in enumerate(batches):
        yield batch
        advance(number)


def _averaging(federation: Federation | None) -> "FederatedAveraging | None":
    from keras_split.device import FederatedAveraging

    if federation is None:
        return None
    terms = federation.terms
    return FederatedAveraging(
        terms.every or "epoch",
        terms.optimizer,
        terms.batchnorm,
        terms.what,
        federation.require_secure,
    )
