"""A cluster of two nodes on one machine, one of which is killed.

    python -m tests.ray.lost_node FOLDER

Two phones train with two replicas, and in the middle of a step one loses its
node. Prints as JSON what became of them; their logs are in FOLDER. It is a
process of its own, for Ray hangs in one that has had other clusters.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from keras_split.client.retry import Retry
from keras_split.client.tap import SessionTap
from keras_split.protocol.messages import Forward
from keras_split.ray import runtime
from keras_split.ray import serve
from tests import links
from tests import nets
from tests.disturbances import committed

STEPS = 6
PATIENT = Retry(give_up_s=240, first_s=0.1, longest_s=1.0)
NODE = {
    "num_cpus": 2,  # room for the replica of the other one
    "node_ip_address": "127.0.0.1",
    "object_store_memory": 100 << 20,
}
# Ray takes half a minute to believe that a node is gone.
SOON = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}


@contextlib.contextmanager
def cluster():
    """It, and the node that has neither its head nor this process."""
    with runtime._loopback(True):
        runtime.require_ray()
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args=NODE
        | {"include_dashboard": False, "_system_config": SOON},
    )
    other = made.add_node(**NODE)
    processes = [raylet(made.head_node), raylet(other)]
    try:
        yield made, other, processes
    finally:
        made.shutdown()
    end = time.monotonic() + 60
    while left := [number for number in processes if runs(number)]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def raylet(node):
    """The process that starts those of a node."""
    return node.all_processes["raylet"][0].process.pid


def about(number):
    """What Linux says of a process; nothing if it has ended."""
    try:
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def runs(number):
    return about(number).get("State", "Z")[0] != "Z"


def parent(look):
    return int(about(look.process)["PPid"])


class Loses(SessionTap):
    """Kills the node that has the session, in the middle of a step."""

    def __init__(self, replicated, cluster, node):
        self.replicated, self.cluster, self.node = replicated, cluster, node
        self.raylet = raylet(node)
        self.lost = []

    def sent(self, message):
        if not isinstance(message, Forward) or message.step != 3:
            return
        (look,) = (
            look
            for look in self.replicated.replicas
            if message.session in look.sessions
        )
        if not self.lost and parent(look) == self.raylet:
            self.lost.append(look.process)
            self.cluster.remove_node(self.node, allow_graceful=False)
            # It would notice a moment later, and might answer until then.
            with contextlib.suppress(ProcessLookupError):
                os.kill(look.process, signal.SIGKILL)


def train(target=None, taps=()):
    """A phone, and the weights to which it trained."""
    client, _ = links.halves()
    links.compile(
        client, address=target and f"grpc://{target}", retry=target and PATIENT
    )
    client.strategy.session.taps += taps
    x, y = links.batch(8 * STEPS)
    client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    return client, [*client.head.get_weights(), *client.tail.get_weights()]


def told(replicated, steps):
    """The status, when all replicas have told of so many steps."""
    end = time.monotonic() + 60
    while True:
        status = replicated.status
        if sum(session.steps for session in status.sessions) == steps:
            return status
        assert time.monotonic() < end, status
        time.sleep(0.1)


def main():
    folder = Path(sys.argv[1])
    _, alone = train()
    _, server = links.halves()
    with (
        cluster() as (nodes, node, processes),
        serve(
            *(server,),
            replicas=2,
            cluster=nodes.address,
            bodies="private",
            port=0,
            checkpoints=folder / "state",
            checkpoint_every=2,
            audit_log=folder / "audit.jsonl",
        ) as replicated,
    ):
        processes += [look.process for look in replicated.replicas]
        homes = {parent(look) for look in replicated.replicas}
        tap = Loses(replicated, nodes, node)
        phones = [train(replicated.target, [tap]) for _ in range(2)]
        status = told(replicated, 2 * STEPS)
        looks = replicated.replicas
        processes += [look.process for look in looks]
        homes_then = {parent(look) for look in looks}
        for client, _ in phones:
            client.close()
    logs = [folder / f"audit.replica-{n}.jsonl" for n in (0, 1)]
    found = {
        "replicas": len(looks),
        "homes": len(homes),
        "left": homes_then == homes - {tap.raylet},
        "lost": len(tap.lost),
        "runs": any(map(runs, tap.lost)),
        "differences": [
            float(nets.largest_difference(each, alone)) for _, each in phones
        ],
        "restarts": sorted(one.restarts for one in status.replicas),
        "steps": [session.steps for session in status.sessions],
        "taken": [steps for log in logs for steps in committed(log).values()],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
