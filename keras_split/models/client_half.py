"""What runs head and tail of a client model."""

import functools
import operator
from typing import TYPE_CHECKING

from keras_split.protocol.contract import Contract
from keras_split.training.client_lengths import ClientLengths
from keras_split.training.client_microbatches import MicrobatchedHalf
from keras_split.training.host_calls import HostCalls

if TYPE_CHECKING:
    from keras_split.models.client import ClientModel

_STRATEGY = operator.attrgetter("strategy")


def client_half(client: "ClientModel") -> MicrobatchedHalf | ClientLengths:
    """The half of a model; one for each length of sequences, if several."""
    contract, wiring = client.contract, client.wiring
    calls = HostCalls()

    def half(contract: Contract) -> MicrobatchedHalf:
        return MicrobatchedHalf(
            client.head,
            client.tail,
            contract,
            wiring.skips,
            # For each message anew: `compile` may bring another strategy.
            functools.partial(_STRATEGY, client._server_link),
            client.defenses,
            wiring.shared,
            calls,
        )

    if not contract.buckets:
        return half(contract)
    return ClientLengths(
        {length: half(contract.at(length)) for length in contract.lengths},
        [wiring.sequences[i] for i in wiring.head_inputs],
        [wiring.sequences[i] for i in wiring.tail_inputs],
        wiring.sequence_outputs,
    )
