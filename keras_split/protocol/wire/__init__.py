"""The messages as protobuf, and protobuf as frames."""
