"""What a client model knows of its server."""

from keras_split.host import Host
from keras_split.models.server import ServerModel
from keras_split.strategies import SplitStrategy


class Partner:
    """How to reach the server.

    A plain object, so that Keras does not take the server for a layer.
    """

    def __init__(self) -> None:
        self.strategy = SplitStrategy()
        self.server: ServerModel | None = None
        self.tag = ""
        self._host: Host | None = None

    def use(self, strategy: SplitStrategy | None) -> None:
        """Takes a new strategy; the session of the old one ends."""
        self.strategy.close()
        if strategy is not None:
            self.strategy = strategy

    @property
    def reachable(self) -> bool:
        """Whether there is a server to connect to."""
        known = self.strategy.address is not None or self.server is not None
        return known or self.strategy.connected

    def host(self) -> Host | None:
        """The server in this process, if there is one."""
        if self._host is None and self.server is not None:
            self._host = self.server.host()
        return self._host
