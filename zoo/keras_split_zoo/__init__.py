"""The presets that come with keras_split: one file each, data only."""
