"""What ZooKeeper has of topics, what each broker tells Kafka's tools of them, and what each replica's folder says: the same."""

import json
import os
import re

from harness import brokers
from harness.scenario import check, equal
from harness.topics import TOPICS


def node(cluster, topic):
    """A topic's id, assignment and moves."""
    return json.loads(cluster.nodes.get(f"/brokers/topics/{topic}") or "null")


def state(cluster, topic, index=0):
    """The leader, the ISR and the epochs of a partition."""
    return json.loads(cluster.nodes.get(f"/brokers/topics/{topic}/partitions/{index}/state"))


def written(cluster, topics):
    """{topic: what its two nodes say}"""
    found = {}
    for topic in topics:
        config = cluster.nodes.get(f"/config/topics/{topic}")
        found[topic] = {**(node(cluster, topic) or {}), "config": json.loads(config or "null")}
    return found


def described(bootstrap, topics):
    """{topic: id, configs, and the replicas of each partition} as TopicCommand is told by one broker."""
    names = "|".join(topics)
    text = brokers.tool("3.9.2", TOPICS, "--bootstrap-server", bootstrap, "--describe", "--topic", names).text
    found = {}
    for name, topic_id, configs in re.findall(r"^Topic: (\S+)\s+TopicId: (\S+)\s.*Configs: (\S*)", text, re.M):
        found[name] = {"topic_id": topic_id, "config": dict(one.split("=", 1) for one in configs.split(",") if one)}
        found[name]["partitions"] = {}
    for name, index, replicas in re.findall(r"^\s+Topic: (\S+)\s+Partition: (\d+)\s.*Replicas: (\S+)\s", text, re.M):
        found[name]["partitions"][index] = [int(number) for number in replicas.split(",")]
    equal(sorted(found), sorted(topics), f"topics that are described\n{text}")
    return found


def check_told(cluster, topics):
    """Nothing moves, and each broker tells the tools what ZooKeeper has."""
    nodes = written(cluster, topics)
    # In Metadata a broker has what the controller told it last.
    for number in cluster.running():
        broker = cluster.brokers[number]
        for topic, seen in described(broker.bootstrap, topics).items():
            wanted = nodes[topic]
            what = f"{topic} as broker {number}, {broker.kind}, tells of it:"
            equal(seen["topic_id"], wanted["topic_id"], f"{what} id")
            equal(seen["partitions"], wanted["partitions"], f"{what} replicas")
            # What is set for all brokers is told as well.
            configs = wanted["config"]["config"]
            equal({key: seen["config"].get(key) for key in configs}, configs, f"{what} configs")
            equal((wanted["adding_replicas"], wanted["removing_replicas"]), ({}, {}), f"moves of {topic}")
    check_folders(cluster, topics)


def check_folders(cluster, topics):
    """Each replica is where ZooKeeper says, with the topic's id, and none is anywhere else."""
    for topic in topics:
        wanted = node(cluster, topic)
        places = {}
        for number, broker in cluster.brokers.items():
            for folder in broker.log_dirs:
                for name in os.listdir(folder):
                    if name.rsplit("-", 1)[0] != topic:
                        continue
                    places.setdefault(name.rsplit("-", 1)[1], set()).add(number)
                    with open(os.path.join(folder, name, "partition.metadata")) as text:
                        check(wanted["topic_id"] in text.read(), f"{name} of broker {number} has another topic's id")
        equal(places, {index: set(replicas) for index, replicas in wanted["partitions"].items()}, f"replicas of {topic}")
