"""Listeners of a server: what it did, for logs, metrics and people.

Each is a `keras_split.events.Events`; pass one as `events=` to a host, or
several with `keras_split.events.Everyone`.
"""

from keras_split.observe.audit import Audit
from keras_split.observe.logs import Log
from keras_split.observe.metrics import Metrics
from keras_split.observe.tally import Tally

__all__ = ["Audit", "Log", "Metrics", "Tally"]
