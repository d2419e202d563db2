import threading
import time

from keras_split.utils import workers
from tests import links


def test_threads_are_used_again():
    _, server = links.halves()
    half = server.half
    optimizer = half.optimizer(links.SGD)
    smashed = links.smashed(server.contract)
    grad = links.features_grad(server.contract)
    *_, step = half.forward(smashed, optimizer)
    half.backward(step, smashed, grad, optimizer, 0.1)
    wait_for_idle()
    before = {t.ident for t in threading.enumerate()}

    for _ in range(20):
        *_, step = half.forward(smashed, optimizer)
        half.backward(step, smashed, grad, optimizer, 0.1)
        wait_for_idle()

    assert {t.ident for t in threading.enumerate()} <= before


def test_as_many_run_at_once_as_are_started():
    barrier = threading.Barrier(5, timeout=30)
    met = []

    for _ in range(4):
        workers.start(lambda: met.append(barrier.wait()))
    barrier.wait()

    while len(met) < 4:
        time.sleep(0.001)
    wait_for_idle()


def wait_for_idle():
    """Until the thread that ended last is at hand again."""
    deadline = time.monotonic() + 30
    while not workers._IDLE and time.monotonic() < deadline:
        time.sleep(0.001)
