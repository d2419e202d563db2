"""Listeners of a server: what it did, for logs, metrics and people.

Each is one of `keras_split.server.callbacks`; pass one as `events=` to a
server, or several together.
"""

from keras_split.server.observe.audit import Audit
from keras_split.server.observe.logs import Log
from keras_split.server.observe.metrics import Metrics
from keras_split.server.observe.status_collector import StatusCollector

__all__ = ["Audit", "Log", "Metrics", "StatusCollector"]
