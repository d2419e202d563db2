"""Weights of the phone's half that bring the server's back with them."""

import logging
import weakref
from typing import Any

import keras
import numpy as np

from keras_split.client import snapshots
from keras_split.client.strategy import SplitStrategy
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.models import stored_config
from keras_split.models.server import ServerModel
from keras_split.models.server_link import ServerLink
from keras_split.models.uncounted import steps_of
from keras_split.partition import birth
from keras_split.protocol.moment import Moment
from keras_split.utils import secret as secrets
from keras_split.utils.counted import counted

_LOG = logging.getLogger("keras_split")


class SplitWeights(list[Any]):
    """Weights of the phone's half, and the tag of the server's snapshot.

    `ClientModel.set_weights` brings both back. The server drops its copy
    when the list is no longer used.

    Attributes:
        tag: Of the snapshot; empty if there is none.
        moment: Of this half.
    """

    tag: str = ""
    moment: Moment | None = None


class SnapshotWeights(keras.Model):
    """A model of which the server has a half: both halves move together.

    What Keras calls for weights, in a list and in a file. The list or the
    file has the tag of a snapshot that the server keeps of its half.
    """

    head: keras.Model
    tail: keras.Model | None
    _server_link: ServerLink

    @property
    def strategy(self) -> SplitStrategy:
        """Speaks with the server."""
        return self._server_link.strategy

    def local_server(self) -> ServerModel | None:
        """The other half, if it is in this process.

        No property: Keras would take it for a part of this half, and write
        its weights into the files of this one.
        """
        return self._server_link.server

    @property
    def snapshot_tag(self) -> str:
        """The server's snapshot in the file that was last saved or loaded."""
        return self._server_link.tag

    @property
    def uncounted(self) -> dict[str, str]:
        """Why an epsilon would not count all that was sent, by kind."""
        return self._server_link.uncounted

    @property
    def moment(self) -> Moment:
        """Of the body, after the last step of this half."""
        return self._server_link.moment

    @moment.setter
    def moment(self, moment: Moment) -> None:
        self._server_link.moment = moment

    def connect(self) -> None:
        """Opens a session with the server, unless one is open."""
        raise NotImplementedError

    def reinitialize(self, secret: bytes | None = None) -> None:
        """Draws the initial weights of head and tail from a secret.

        Whoever builds the same model from the same seed has the same initial
        weights. Does a server, or who wrote the code and the seed that it
        runs, it knows the initial head, and reads what a phone sends far
        better for it. So call this on the phone, once, before the first
        step. Presets of the zoo do when they are loaded.

        The body stays as it is, and so do arrays whose initializer has no
        chance in it, such as zeros. Halves share their layers with the model
        they were cut from, whose head and tail are drawn anew by this, too.

        Args:
            secret: 16 bytes or more, which no server may ever see, for the
                same weights each time. By default 128 bits of the system's
                randomness, kept nowhere: the weights are all that is needed.

        Raises:
            OptionError: If the secret is too short; if this half was trained
                or loaded, which would be lost; or if a layer cannot be made
                again from its config. Nothing was changed.
        """
        steps = steps_of(self)
        if steps or self.moment:
            raise OptionError(
                "Expected a half that no step was taken with. Received: one "
                f"after {counted(steps or self.moment.steps, 'step')}, whose "
                "weights would be lost. Call reinitialize before fit."
            )
        parts = [part for part in (self.head, self.tail) if part is not None]
        birth.reinitialize(parts, secrets.checked(secret))

    def load_device_state(self, path: Any) -> list[str]:
        """Takes what a LiteRT-only device has learned with this half.

        Weights, BatchNormalization's statistics and the moment of the state;
        and the optimizer's slots and number of steps, if this client is
        compiled with an optimizer that has as many slots (SGD with momentum
        has one, Adam and AdamW two). Seeds stay: a device draws by the number
        of the step. The server's half stays, too; `restore_body` has it go
        back to the snapshot that the state names, if it names one.

        Args:
            path: What `save_state` of the device wrote, or
                `keras-split device train --state`.

        Returns:
            Names of the slots that had no place here.

        Raises:
            DataError: If it is missing, damaged, or of another model; nothing
                was changed.
        """
        from keras_split.models.device_state import DeviceState

        state = DeviceState(path)
        left = state.put(self)
        self.moment = state.moment
        # The device drew from the same seed, by the number of its steps.
        self._server_link.trained_before = bool(state.step)
        self._server_link.tag = state.tag
        return left

    def get_weights(self) -> list[Any]:
        """Weights of this half; the server keeps a snapshot of the other.

        Without an open session there is no snapshot, and `set_weights` will
        bring back this half alone.
        """
        weights = SplitWeights(super().get_weights())
        weights.moment = self.moment
        if self.strategy.connected:
            session = self.strategy.session
            weights.tag = snapshots.take(session, held=True)
            if weights.tag:
                weakref.finalize(
                    weights, snapshots.release, session, weights.tag
                )
        return weights

    def set_weights(self, weights: list[Any]) -> None:
        """Brings back what `get_weights` returned, on both sides."""
        tag = getattr(weights, "tag", "")
        if tag:
            self.connect()
            snapshots.restore(self.strategy.session, tag)
        super().set_weights(weights)
        moment: Moment | None = getattr(weights, "moment", None)
        if moment is not None:
            self.moment = moment

    def save_own_variables(self, store: Any) -> None:
        """Puts the moment and the tag of a server snapshot into the file.

        And what was sent that no epsilon counts, if anything was.
        """
        moment = self.moment.get_config()
        stored_config.save(store, stored_config.MOMENT, moment)
        if self.uncounted:
            stored_config.save(store, stored_config.UNCOUNTED, self.uncounted)
        if self.strategy.connected:
            tag = self._server_link.tag = snapshots.take(self.strategy.session)
            if tag:
                store["snapshot"] = np.frombuffer(tag.encode(), np.uint8)

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` wrote."""
        self.moment = Moment.get(
            stored_config.load(store, stored_config.MOMENT)
        )
        sent = stored_config.load(store, stored_config.UNCOUNTED) or {}
        for kind, why in sent.items():
            self.uncounted.setdefault(kind, str(why))
        if "snapshot" in store.keys():
            self._server_link.tag = bytes(np.array(store["snapshot"])).decode()

    def load_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Keras' `load_weights`; the server brings back its half as well.

        A client that has no way to a server loads its own half alone. So does
        one whose server trains one model with several phones, before its own
        training has begun: it goes on from where the others are, with their
        half. Later that would change this half alone, and is refused.

        Raises:
            TransportError: If the server is not there.
            RefusedError: If the server has no such snapshot, or with reason
                `"cohort"`; then this half keeps the weights that it had.
        """
        before_tag, before_moment = self.snapshot_tag, self.moment
        self._server_link.tag = ""
        variables = list(self.variables)
        if getattr(self, "optimizer", None) is not None:
            variables += self.optimizer.variables
        before = [np.array(v) for v in variables]
        try:
            super().load_weights(filepath, **kwargs)
            if self.snapshot_tag and self._server_link.reachable:
                with self.strategy.session.connection.unsaid():
                    self.connect()
                if not self._joins_cohort():
                    self.restore_body()
        except BaseException:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            self._server_link.tag, self.moment = before_tag, before_moment
            raise

    # No property: Keras looks at all of a model's when it saves one.
    def _joins_cohort(self) -> bool:
        """Whether a cohort goes on without this phone, until it trains."""
        connection = self.strategy.session.connection
        joins = connection.cohort is not None and not connection.enrolled
        if joins:
            _LOG.warning(
                "The body stays as the other phones have trained it: one "
                "model is theirs and this phone's. It trains on with their "
                "half."
            )
        return joins

    def restore_body(self) -> None:
        """Has the server bring its half back to the file last read or saved.

        Everybody who trains this body goes on from there.

        Raises:
            DataError: If the file names no snapshot.
            TransportError: If the server is not there.
            RefusedError: If it has the snapshot no longer.
        """
        if not self.snapshot_tag:
            raise DataError(
                "Expected a file that names a snapshot of the server. "
                "Received: one that was saved while no session was open, or "
                "by an old version. Save during fit (ModelCheckpoint), or "
                "after it and before client.close()."
            )
        session = self.strategy.session
        with session.connection.unsaid():
            self.connect()
            snapshots.restore(session, self.snapshot_tag, optimizer=True)
