"""The brokers that the corpus is played against, all with the same settings."""

import os
import tempfile
import time

from harness import brokers, wire

from . import player

# Where a default would make answers depend on the machine or the time.
SETTINGS = {
    "num.partitions": 1,
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 10,
    "group.max.size": 4,
    "max.incremental.fetch.session.cache.slots": 1000,
    "message.max.bytes": 10000,
    "offset.metadata.max.bytes": 100,
    "log.index.size.max.bytes": 65536,
    "log.message.timestamp.after.max.ms": 3600000,
}
NAMES = {"barnabas": "barnabas", "3.9.2": "kafka", "4.2.0": "kraft"}


def start(kind):
    # Hundreds of topics are created, and no disk is looked at.
    if os.path.isdir("/dev/shm") and not os.environ.get("TMPDIR"):
        tempfile.tempdir = "/dev/shm"
    folder = brokers.scratch("corpus")
    settings = {**SETTINGS, ("node.id" if kind == "4.2.0" else "broker.id"): 1}
    if kind == "3.9.2":
        settings["zookeeper.session.timeout.ms"] = 60000
    broker = brokers.KINDS[NAMES[kind]](folder, settings).start()
    await_coordinators(broker.bootstrap, kind != "barnabas")
    return broker


def await_coordinators(bootstrap, transactions):
    """Until every partition of the groups' topic has its coordinator, and there is one for `transactions`."""
    deadline = time.time() + 60
    with wire.Connection(bootstrap) as client:
        client.find_coordinator("w-first")
        if transactions:
            client.find_coordinator("w-first", of_transactions=True)
            client.init_producer_id("w-first")
        for number in range(64):
            while client.committed(f"w-first-{number}", "w-none", 1) is None:
                if time.time() > deadline:
                    raise TimeoutError("no coordinators")
                time.sleep(0.02)


def player_of(apis, broker):
    # A Kafka that does not answer at once does not answer; Barnabas may be on a machine that is busy with tests.
    return player.Player(apis, broker.bootstrap, broker.log_dirs[0], 60 if broker.kind == "barnabas" else 15)


def api_versions(apis, broker):
    """{name: [lowest, highest]} of what the broker advertises, unknown APIs by number."""
    names = {api.key: name for name, api in apis.items()}
    with wire.Connection(broker.bootstrap) as client:
        return {names.get(key, str(key)): list(span) for key, span in client.api_versions().items()}
