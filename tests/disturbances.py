"""What goes wrong between a phone and a server, at chosen moments."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time


class ServeProcess:
    """`keras-split serve` in a process, which can be killed and restarted.

    Args:
        *arguments: Of `keras-split serve`; the port is chosen here and kept.
    """

    def __init__(self, *arguments):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.arguments = [str(argument) for argument in arguments]
        self.deaths = 0
        self._stopping = False
        self.process = self._start()

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def kill(self):
        """Kills it, without a last word, and starts it again."""
        self._kill()
        self.deaths += 1
        if not self._stopping:
            self.process = self._start()

    def stop(self):
        """Asks it to stop; returns its exit code."""
        self._stopping = True
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def _kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def _start(self):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "keras_split_cli", "serve"),
                *(*self.arguments, "--port", str(self.port)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        line = process.stdout.readline()
        assert line.startswith("Serving"), line
        return process

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stopping = True
        self._kill()


class Proxy:
    """Stands between phone and server and does harm as bytes pass.

    Args:
        port: Of the server.
        plan: Pairs of a number of bytes, of both directions together, and
            what to do when so many have passed: a function, or `"cut"`.

    Attributes:
        port: Of the server; 0 while there is none.
    """

    def __init__(self, port, plan=()):
        self.port = port
        self._plan = sorted(plan, key=lambda item: item[0])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed = 0
        self.done = []
        self._lock = threading.Lock()
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Closes all connections, whatever is on its way."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def _accept(self):
        while True:
            try:
                phone, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.port))
            except OSError:  # it is dead
                phone.close()
                continue
            with self._lock:
                self._sockets += [phone, server]
            for pair in ((phone, server), (server, phone)):
                threading.Thread(
                    target=self._pump, args=pair, daemon=True
                ).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(4096):
                self._count(len(data))
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _count(self, nbytes):
        with self._lock:
            self.passed += nbytes
            due = None
            if self._plan and self._plan[0][0] <= self.passed:
                due = self._plan.pop(0)[1]
        if due is not None:
            self.done.append(due)
            if due == "cut":
                self.cut()
            else:
                threading.Thread(target=due, daemon=True).start()
                time.sleep(0.05)  # a dead server answers nothing more

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._listener.close()
        self.cut()


def committed(audit_log):
    """How often each step of each session was taken, by the server's log.

    A server that comes back says from which step each session goes on; what
    it had taken after that was lost with it. With private bodies it says so
    of one body after the other.
    """
    steps = {}
    for line in audit_log.read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "loaded":
            for session, kept in event["sessions"].items():
                steps[session] = steps.get(session, [])[:kept]
        elif event["event"] == "step":
            taken = steps.setdefault(event["session"], [])
            taken.append(event["step"])
    return steps
