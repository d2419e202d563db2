"""Tells a phone that the gradients it gets are not those of its features."""

from keras_split.detection.agreement import Check as Check
from keras_split.detection.detector import HijackDetector as HijackDetector

__all__ = ["Check", "HijackDetector"]
