"""Another transport: gRPC on a link that is slow to answer."""

import time

from keras_split import transports


class Delayed(transports.Transport):
    """Waits before each message, as on a link with a long round trip."""

    round_trip_s = 0.02

    def __init__(self, route, contract):
        self.inner = transports.get(
            f"grpc://{route.address.check_port().target}",
            contract,
            credentials=route.credentials,
            connect_timeout_s=route.connect_timeout_s,
            reply_timeout_s=route.reply_timeout_s,
        )

    def carry(self, message):
        time.sleep(self.round_trip_s)
        reply = self.inner.carry(message)
        self.uplink_bytes = self.inner.uplink_bytes
        self.downlink_bytes = self.inner.downlink_bytes
        return reply

    def close(self):
        self.inner.close()


transports.register("delayed", Delayed, has_port=True)
