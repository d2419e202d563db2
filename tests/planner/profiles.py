"""Profiles of machines that nobody has: each element takes some time."""

from keras_split.planner.profile import TABLES
from keras_split.planner.profile import Memory
from keras_split.planner.profile import Profile
from keras_split.planner.profile import Rate
from keras_split.planner.profile import Table
from keras_split.planner.work import KINDS


def made(name, seconds):
    """A machine that takes `seconds` for 10^9 multiply-adds."""
    rate = Rate(multiply_adds=seconds / 1e9)
    rates = {kind: rate for kind in KINDS}
    tables = {table: Table({}, rates) for table in TABLES}
    memory = Memory(0.0, 8e6, 16.0, 32.0, 4.0, {})
    return Profile(name, tables, memory)


PHONE = made("slow", 1.0)
SERVER = made("fast", 0.01)
