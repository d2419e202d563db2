import pytest

from keras_split.server import accounts as module
from keras_split.server.accounts import Account
from keras_split.server.accounts import Accounts
from keras_split.server.callbacks import Caller
from keras_split.server.limits import Share
from keras_split.server.limits import StreamLimits

ANN, BEN = Caller("ann"), Caller("ben")


def test_a_client_has_one_account_wherever_it_calls_from():
    accounts = Accounts()

    one = accounts.of(Caller("ann", "ipv4:10.0.0.2:1"))
    assert accounts.of(Caller("ann", "ipv4:10.0.0.3:2")) is one
    assert accounts.of(BEN) is not one


def test_where_nobody_is_asked_a_host_has_one():
    accounts = Accounts()

    one = accounts.of(Caller("", "ipv4:10.0.0.2:1"))
    assert accounts.of(Caller("", "ipv4:10.0.0.2:2")) is one
    assert accounts.of(Caller("", "ipv4:10.0.0.3:1")) is not one


def test_one_client_has_a_quarter_of_the_bytes_in_flight():
    accounts = Accounts(StreamLimits(max_inflight_bytes=100))
    shares = [Share(accounts.of(ANN).inflight) for _ in range(2)]

    assert shares[0].take(20) and shares[1].take(5)
    assert not shares[1].take(1)
    assert Share(accounts.of(BEN).inflight).take(25)
    shares[0].free()
    assert shares[1].take(20)


def test_clients_together_have_no_more_than_all_of_them():
    accounts = Accounts(StreamLimits(max_inflight_bytes=100), longest_bytes=60)

    assert Share(accounts.of(ANN).inflight).take(60)
    other = Share(accounts.of(BEN).inflight)
    assert not other.take(41)
    assert other.take(40)


def test_one_message_of_the_largest_size_is_always_let_through():
    accounts = Accounts(StreamLimits(max_inflight_bytes=100), longest_bytes=90)

    assert Share(accounts.of(ANN).inflight).take(90)


def test_who_gives_up_too_many_steps_has_none_that_waits():
    account = Account()

    for _ in range(module.GIVEN_UP_BURST):
        assert account.may_wait
        account.given_up()

    assert not account.may_wait
    account.given_up()  # and no harm is done


def test_clients_without_end_take_no_memory_without_end(monkeypatch):
    monkeypatch.setattr(module, "_KEYS", 3)
    accounts = Accounts()

    for number in range(9):
        accounts.of(Caller(str(number)))

    assert len(accounts._accounts) == 3


@pytest.mark.parametrize("what", ["hellos", "messages"])
def test_rates_are_those_of_the_limits(what):
    limits = StreamLimits(hello_burst=2, hellos_per_s=0, messages_per_s=2)
    bucket = getattr(Account(limits), what)

    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_who_has_much_computed_in_vain_has_to_wait():
    now = [0.0]
    account = Account(clock=lambda: now[0])

    account.in_vain(module.FREE_S - module.CALL_S)
    assert account.pause_s == 0.0
    account.in_vain(0.1 - module.CALL_S)
    assert account.pause_s == pytest.approx(1.0)
    account.in_vain(100.0)
    assert account.pause_s == module.LONGEST_PAUSE_S
    now[0] += 2000.0
    assert account.pause_s == 0.0


def test_time_is_charged_however_it_ends():
    now = [0.0]
    account = Account(clock=lambda: now[0])

    with pytest.raises(KeyError):
        with account.charged():
            now[0] += module.FREE_S + 0.1 - module.CALL_S
            raise KeyError

    assert account.pause_s == pytest.approx(1.0)


def test_who_owes_waits_where_others_asked_within_a_minute():
    now = [0.0]
    accounts = Accounts(clock=lambda: now[0])
    accounts.of(BEN)
    accounts.of(ANN).in_vain(100.0)

    assert accounts.pause_s(ANN) == module.LONGEST_PAUSE_S
    assert accounts.pause_s(BEN) == 0.0
    now[0] += 59.0
    assert accounts.pause_s(ANN) == module.LONGEST_PAUSE_S
    accounts.of(BEN)
    now[0] += 61.0
    assert accounts.pause_s(ANN) == 0.0


def test_who_is_alone_never_waits():
    accounts = Accounts()
    accounts.of(ANN).in_vain(100.0)

    assert accounts.pause_s(ANN) == 0.0


def test_a_host_does_not_wait_for_what_others_of_it_owe():
    accounts = Accounts()
    host = Caller("", "ipv4:10.0.0.2:1")
    accounts.of(ANN)
    accounts.of(host).in_vain(100.0)

    assert accounts.pause_s(host) == 0.0
