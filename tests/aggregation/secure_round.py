"""A secure sum of some phones, without messages and threads."""

from keras_split.aggregation.secure_phone import SecurePhone
from keras_split.aggregation.secure_sum import SecureSum

COHORT = "0123456789abcdef" * 2


class SecureRound:
    """Phones and a server that go through the stages, but for who is gone.

    Args:
        values: Vector and weight, by member.
        bits: Of the numbers under masks.
        number: Of the round.
    """

    def __init__(self, values, bits=64, number=5):
        size = next(iter(values.values()))[0].size
        self.phones = {
            member: SecurePhone(COHORT, number, member, vector, weight, bits)
            for member, (vector, weight) in values.items()
        }
        self.sum = SecureSum(COHORT, number, size, bits)
        self.roster = {}
        self.sealed = {}
        self.masked = {}

    def keys(self, gone=()):
        given = {m: p.keys() for m, p in self._left(self.phones, gone).items()}
        for keys in given.values():
            self.sum.check_keys(keys)
        self.roster = self.sum.keys(given)

    def shares(self, gone=()):
        given = {
            member: phone.shares(self.roster)
            for member, phone in self._left(self.sum.members, gone).items()
        }
        for member, shares in given.items():
            self.sum.check_shares(member, shares)
        self.sealed = self.sum.shares(given)

    def values(self, gone=()):
        members = self.sum.members
        self.masked = {
            member: phone.value(members, self.sealed[member])
            for member, phone in self._left(members, gone).items()
        }
        self.sum.values(self.masked)

    def unmask(self, gone=()):
        members = self.sum.members
        given = {
            member: phone.unmask(members)
            for member, phone in self._left(members, gone).items()
        }
        for member, shares in given.items():
            self.sum.check_unmask(member, shares)
        return self.sum.mean(given)

    def run(self, *gone):
        """All stages; who goes before each of them."""
        gone += ((),) * (4 - len(gone))
        self.keys(gone[0])
        self.shares(gone[1])
        self.values(gone[2])
        return self.unmask(gone[3])

    def _left(self, members, gone):
        return {m: self.phones[m] for m in members if m not in gone}
