"""Topics of a cluster: Kafka's tools that make and move them, and whether the files of their replicas are the same."""

import json
import os
import time

TOPICS = "org.apache.kafka.tools.TopicCommand"
REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
ELECT = "org.apache.kafka.tools.LeaderElectionCommand"


def create(cluster, topic, partitions=1, replication=3, **configs):
    words = [word for key, value in configs.items() for word in ("--config", f"{key.replace('_', '.')}={value}")]
    cluster.tool(TOPICS, "--create", "--topic", topic, "--partitions", partitions, "--replication-factor", replication, *words)
    cluster.in_sync(topic, replication)


def plan(cluster, name, moves):
    """The file that tells ReassignPartitionsCommand where partitions go; `moves`: {(topic, partition): replicas}."""
    partitions = [{"topic": topic, "partition": index, "replicas": replicas} for (topic, index), replicas in moves.items()]
    path = os.path.join(cluster.folder, f"{name}.json")
    with open(path, "w") as out:
        json.dump({"version": 1, "partitions": partitions}, out)
    return path


def segments(cluster, topic):
    """The `.log` files of each replica, one after the other."""
    found = {}
    for number, broker in cluster.brokers.items():
        for folder in broker.log_dirs:
            for name in sorted(os.listdir(folder)):
                if name.rsplit("-", 1)[0] == topic:
                    path = os.path.join(folder, name)
                    logs = sorted(one for one in os.listdir(path) if one.endswith(".log"))
                    data = b"".join(open(os.path.join(path, one), "rb").read() for one in logs)
                    found.setdefault(name, {})[number] = data
    return found


def check_replicas(cluster, topic, replicas=3):
    """The replicas of each partition are the same, byte by byte."""
    cluster.in_sync(topic, replicas)
    deadline = time.time() + 20
    while True:
        found = segments(cluster, topic)
        wrong = [name for name, copies in found.items() if len(copies) != replicas or len(set(copies.values())) != 1]
        if found and not wrong:
            return
        if time.time() > deadline:
            sizes = {name: {number: len(data) for number, data in found[name].items()} for name in wrong}
            raise AssertionError(f"replicas differ: {sizes}\n{cluster.state()}")
        time.sleep(0.2)
