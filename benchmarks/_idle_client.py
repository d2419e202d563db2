"""Phones that open a session each and say nothing more, for idle_phones.py.

    python benchmarks/_idle_client.py ADDRESS FOLDER PHONES

Each has a connection of its own. Prints "ready" when all are welcome, waits
for a line, and closes them. Loads neither Keras nor TensorFlow.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path

import grpc
from _load_client import OPTIMIZER

from keras_split.compression import codecs
from keras_split.protocol.contract import Contract
from keras_split.protocol.messages import Hello
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames

TRAIN = "/keras_split.v1.SplitTraining/Train"
# Else all would share one connection.
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


async def main() -> None:
    """Opens the sessions and waits."""
    target = sys.argv[1].removeprefix("grpc://")
    config = json.loads((Path(sys.argv[2]) / "contract.json").read_text())
    contract = Contract.from_config(config)
    phones = []
    for _ in range(int(sys.argv[3])):
        channel = grpc.aio.insecure_channel(target, OPTIONS)
        call = channel.stream_stream(TRAIN)()
        hello = convert.to_wire(Hello(contract, OPTIMIZER), codecs.get("raw"))
        for frame in frames.split(*hello):
            await call.write(frame)
        ((welcome, _),) = frames.join([await call.read()], 1 << 20)
        assert welcome.WhichOneof("message") == "welcome", welcome
        phones.append((channel, call))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for channel, call in phones:
        call.cancel()
        await channel.close()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main())
