"""What stands between a half and its quantization, so that it tells less."""
