"""The phone's end of gRPC."""
