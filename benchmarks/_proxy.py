"""A TCP proxy on loopback that counts the bytes that pass."""

import socket
import threading


class CountingProxy:
    """Stands between a client and a server and counts both directions.

    Attributes:
        address: `"host:port"` for the client.
        uplink_bytes: From client to server, as TCP payload.
        downlink_bytes: From server to client.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.uplink_bytes = 0
        self.downlink_bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accepts no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for pair in (
                (client, server, "uplink"),
                (server, client, "downlink"),
            ):
                threading.Thread(
                    target=self._pump, args=pair, daemon=True
                ).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, direction: str
    ) -> None:
        counter = f"{direction}_bytes"
        try:
            while data := source.recv(1 << 16):
                setattr(self, counter, getattr(self, counter) + len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
