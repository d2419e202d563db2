"""The messages as protobuf; `convert` is the only place that knows both."""
