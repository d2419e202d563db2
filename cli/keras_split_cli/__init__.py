"""The command line: one file each command, which parses, calls and prints."""
