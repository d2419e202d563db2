"""What a server keeps on disk: checkpoints and snapshots."""
