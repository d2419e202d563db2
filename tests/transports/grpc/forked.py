"""A client that forks while a stream is open; its child just ends."""

import os
import signal
import sys
from concurrent import futures

import grpc

from keras_split.transports.grpc.channel import open_channel
from keras_split.transports.grpc.transport import Stream
from keras_split.utils.scratch import Scratch


def main():
    server = grpc.server(futures.ThreadPoolExecutor(2))
    echo = grpc.stream_stream_rpc_method_handler(lambda requests, _: requests)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("Test", {"Echo": echo}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stream = Stream(open_channel(f"127.0.0.1:{port}"), "/Test/Echo", ())
    replies = iter(stream)
    scratch = Scratch()

    def echoed(raw):
        stream.send(raw)
        return next(replies)

    assert echoed(b"before") == b"before"
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child that hangs is killed
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
    print(echoed(b"after").decode(), os.path.isdir(scratch.name))
    stream.close()
    server.stop(0)


if __name__ == "__main__":
    main()
