import tracemalloc

import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.cohort import AveragingTerms
from keras_split.server.cohorts import enrolling
from keras_split.server.cohorts.config import CohortConfig
from tests.server.cohorts import fakes
from tests.server.cohorts.fakes import enroll

SGD = '{"class_name": "SGD", "config": {"learning_rate": 1.0}}'


@pytest.mark.parametrize(
    "terms",
    [
        AveragingTerms(),
        AveragingTerms(7, optimizer=SGD),
        AveragingTerms(1, "gradients", "local"),
    ],
)
def test_what_a_phone_of_ours_says_is_let_in(terms):
    message = enroll(terms=terms, capacity=8, version=3)

    enrolling.check(message, CohortConfig())


@pytest.mark.parametrize(
    ("reason", "text", "more"),
    [
        ("cohort", "what to be", {"terms": AveragingTerms(what="?" * 10**6)}),
        ("cohort", "batchnorm", {"terms": AveragingTerms(batchnorm="none")}),
        ("cohort", "every=2", {"terms": AveragingTerms(2, "gradients")}),
        ("optimizer", "", {"terms": AveragingTerms(optimizer="[" * 10**5)}),
        ("optimizer", "", {"terms": AveragingTerms(optimizer="{}")}),
        ("size", "1,152,921,504,606,846,976", {"size": 1 << 60}),
        ("size", "Received: 0", {"size": 0}),
        ("cohort", "SHA-256", {"layout": "x" * 10**6}),
        ("cohort", "capacity", {"capacity": 1 << 63}),
    ],
)
def test_words_that_cannot_be_cost_nothing_and_are_told(reason, text, more):
    cohort = fakes.cohort(mode="merged")
    message = enroll(**more)

    tracemalloc.start()
    with pytest.raises(ProtocolError) as raised:
        cohort.answer(message, fakes.phone())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert raised.value.reason == reason and text in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert peak < 64 << 10
    assert len(cohort.members) == 0 and cohort.terms is None


def test_gradients_are_for_merged_steps():
    message = enroll(terms=AveragingTerms(1, "gradients"))

    with pytest.raises(ProtocolError, match="in a shared one"):
        enrolling.check(message, CohortConfig("shared"))


def test_under_masks_numbers_are_longer():
    assert CohortConfig(max_half_bytes=1024).longest_half == 256
    assert CohortConfig(max_half_bytes=1024, phones=3).longest_half == 128
    config = CohortConfig(max_half_bytes=1024, phones=3, bits=32)
    assert config.longest_half == 256
