"""Messages as JSON that any protobuf library reads."""

from typing import Any

from google.protobuf import json_format

from keras_split.compression import codecs
from keras_split.protocol.messages import Hello
from keras_split.protocol.wire import convert


def hello_to_json(hello: Hello) -> dict[str, Any]:
    """A `Hello` of `split.proto` as proto JSON.

    Fields have the names of `split.proto`; those that are zero, false or
    empty are left out, and 64-bit numbers are text, as proto JSON wants it.

    Returns:
        What `json.dumps` takes, and `json_format.ParseDict` gives back.
    """
    envelope, _ = convert.to_wire(hello, codecs.get("raw"))
    written: dict[str, Any] = json_format.MessageToDict(
        envelope.hello, preserving_proto_field_name=True
    )
    return written
