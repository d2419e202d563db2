"""The server's end of gRPC."""
