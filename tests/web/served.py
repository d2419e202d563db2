"""`keras-split serve --web` in a process."""

import re
import socket
from pathlib import Path

from tests.disturbances import ServeProcess

TOKEN = "token-of-alice-0123"


class WebProcess(ServeProcess):
    """Serves browsers, too; killed and restarted, on the same port.

    Args:
        source: Folder with what `export` writes, or the name of a preset.
        *arguments: Of `keras-split serve`, besides.

    Attributes:
        said: Lines that it printed, as far as `wait` has read.
    """

    def __init__(self, source, *arguments):
        if isinstance(source, Path):
            client = source / "client.tflite"
            arguments = ("--web-client", client, *arguments)
            source = source / "server.keras"
        self.said = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.web_port = free.getsockname()[1]
        super().__init__(source, "--web", self.web_port, *arguments)

    def wait(self, wanted="In browsers|joins within"):
        """Until it prints that browsers can come."""
        while not re.search(wanted, line := self.process.stdout.readline()):
            assert line, "the server has ended"
            self.said.append(line)
        self.said.append(line)
        return self
