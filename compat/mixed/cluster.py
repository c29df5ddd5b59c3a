"""Four brokers in one ZooKeeper, of which one Barnabas and one Kafka may rule, each behind a link that can be cut."""

import json

from harness import clusters
from harness.nodes import Nodes
from harness.numbered import Lines, check_lines
from harness.scenario import check, equal
from harness.topics import TOPICS, check_replicas
from mixed.told import check_told, state, written

# Who rules is known: when 1 is killed it is 2, when 2 is killed it is 1.
OURS, KAFKA = 1, 2
KINDS = ["barnabas", "kafka", "barnabas", "barnabas"]
SETTINGS = {
    # Nobody but the scenarios moves leaders.
    "auto.leader.rebalance.enable": "false",
    "replica.lag.time.max.ms": 4000,
    # So that a move which is held to a few bytes a second stands still.
    "replica.fetch.max.bytes": 65536,
}
# Bytes a second: an answer of replica.fetch.max.bytes goes out now and then, and no more.
STILL = 100


class Mixed(clusters.Cluster):
    def __init__(self):
        own = {number: {"controller.candidate": "false"} for number in (3, 4)}
        super().__init__("mixed", KINDS, SETTINGS, own=own)
        self.nodes = Nodes(self.zookeeper_connect)
        self.links = self.behind_links()
        self.begun = False

    def begin(self):
        self.begun = True
        self.brokers[OURS].start()
        self.wait("the Barnabas rules", lambda: self.ruler() == OURS)
        for number in (KAFKA, 3, 4):
            self.brokers[number].start(wait=False)
        for broker in self.brokers.values():
            broker.await_ready(120)
        self.wait("all brokers know of each other", lambda: self.agreed(4))

    def check_all_run(self):
        if self.begun:
            super().check_all_run()

    def start_all(self):
        return super().start_all() if self.begun else ""

    def ruler(self):
        return json.loads(self.nodes.get("/controller") or '{"brokerid": -1}')["brokerid"]

    def ruled_by_us(self):
        """Where a scenario begins."""
        if not self.begun:
            self.begin()
        elif self.ruler() != OURS:
            self.passes_on(OURS)
            self.comes_back(KAFKA)

    def passes_on(self, to, *cuts):
        """The controller is killed, and the other one takes over, at the first attempt. The links are whole again then."""
        epoch = int(self.nodes.get("/controller_epoch"))
        ruler = self.ruler()
        check(ruler != to, f"{to} rules already")
        self.brokers[ruler].kill()
        for cut in cuts:
            self.links.heal(cut)
        self.wait(f"{to} rules", lambda: self.ruler() == to)
        self.wait(f"all know that {to} rules", lambda: self.agreed(3) and self.controller() == to)
        equal(int(self.nodes.get("/controller_epoch")), epoch + 1, "the controller's epoch")

    def comes_back(self, number):
        self.brokers[number].start()
        self.wait(f"{number} is back", lambda: self.agreed(4))

    def placed(self, topic, *replicas, **configs):
        """Makes a topic with its partitions there."""
        words = [word for key, value in configs.items() for word in ("--config", f"{key.replace('_', '.')}={value}")]
        places = ",".join(":".join(map(str, one)) for one in replicas)
        self.tool(TOPICS, "--create", "--topic", topic, "--replica-assignment", places, *words)
        self.in_sync(topic, len(replicas[0]))

    def isr(self, topic, index=0):
        return sorted(state(self, topic, index)["isr"])

    def configure(self, topic, **configs):
        """Its configs are these from now on: limits that a tool has set are gone."""
        with self.brokers[3].connect() as client:
            client.set_topic_configs(topic, {key.replace("_", "."): value for key, value in configs.items()})


class Kept:
    """A topic that nobody touches, with configs and a producer: at the end it must be as it was."""

    def __init__(self, cluster, topic, *replicas):
        self.cluster, self.topic = cluster, topic
        replicas = replicas or ([3, 1, 4], [4, 2, 3], [2, 3, 1], [1, 4, 2])
        cluster.placed(topic, *replicas, retention_ms=87654321, segment_bytes=1048576)
        self.before = written(cluster, [topic])
        self.lines = Lines(cluster, topic)

    def settle(self):
        self.lines.settle()

    def check(self):
        count = self.lines.finish()
        equal(written(self.cluster, [self.topic]), self.before, "what ZooKeeper has of it")
        check_told(self.cluster, [self.topic])
        check_lines(self.cluster, self.topic, count)
        check_replicas(self.cluster, self.topic)
