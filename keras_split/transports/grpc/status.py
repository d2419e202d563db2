"""Asks a server what it is doing."""

import grpc

from keras_split.errors import DataError
from keras_split.errors import TransportError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import split_pb2_grpc
from keras_split.protocol.wire import status as wire
from keras_split.transports.address import Address
from keras_split.transports.grpc.channel import metadata
from keras_split.transports.grpc.channel import open_channel
from keras_split.transports.grpc.channel import refusal
from keras_split.utils.plain import plain


def fetch(
    address: str,
    *,
    credentials: Credentials | None = None,
    timeout_s: float = 5.0,
) -> ServerStatus:
    """The status of a server.

    Args:
        address: `"grpc://host:port"`, or `"grpcs://host:port"` with TLS.
        credentials: What the server asks of its clients.
        timeout_s: How long to wait for a connection, and for the answer.

    Raises:
        ValueError: If the address is not of that form.
        TransportError: If the server is not there in time.
        RefusedError: If it does not tell this client.
    """
    server = Address.parse(address).check_port()
    if server.scheme not in ("grpc", "grpcs"):
        raise DataError(
            "Expected an address such as 'grpc://10.0.0.2:50051' or "
            "'grpcs://10.0.0.2:50051': the status is asked for over gRPC. "
            f"Received: {address!r}."
        )
    target = server.target
    channel = open_channel(
        target,
        secure=server.scheme == "grpcs",
        credentials=credentials,
        timeout_s=timeout_s,
    )
    try:
        stub = split_pb2_grpc.SplitTrainingStub(channel)
        reply = stub.Status(
            pb.StatusRequest(),
            timeout=timeout_s,
            metadata=metadata(credentials),
        )
    except grpc.RpcError as error:
        raise refusal(error, target) or TransportError(
            f"Expected the status of {target}. Received: "
            f"{error.code().name} ({plain(error.details() or '')}). Look at "
            "the host and the port, and at the server's log."
        ) from error
    finally:
        channel.close()
    return wire.from_wire(reply)
