"""A log directory of Barnabas goes over to a real Kafka 3.9.2, which learns of the cluster and its topics from ZooKeeper
nodes that are written beforehand, with the ids that lie in the directory."""

import json
import os
import re

from . import brokers


def kafka_on(folder, directory, topics, properties=None):
    """A Kafka on this directory, not started yet; `topics` are those that it is told of, with their configurations."""
    kafka = brokers.Kafka(folder, properties, log_dirs=[directory])
    nodes = {"": "", "/cluster": "", "/brokers": "", "/brokers/topics": "", "/config": "", "/config/topics": ""}
    with open(os.path.join(directory, "meta.properties")) as meta:
        cluster = re.search(r"(?m)^cluster\.id=(.*)$", meta.read())[1]
    nodes["/cluster/id"] = _json({"version": "1", "id": cluster})
    for topic, configs in topics.items():
        partitions = [name for name in os.listdir(directory) if re.fullmatch(re.escape(topic) + r"-\d+", name)]
        with open(os.path.join(directory, partitions[0], "partition.metadata")) as metadata:
            topic_id = re.search(r"topic_id: (\S+)", metadata.read())[1]
        assigned = {name.rpartition("-")[2]: [0] for name in partitions}
        state = {"partitions": assigned, "topic_id": topic_id, "adding_replicas": {}, "removing_replicas": {}}
        nodes[f"/brokers/topics/{topic}"] = _json({"version": 3, **state})
        values = {key: str(value) for key, value in configs.items()}
        nodes[f"/config/topics/{topic}"] = _json({"version": 1, "config": values})
    commands = "".join(f"create {kafka.root}{path} '{data}'\n" for path, data in nodes.items())
    server = f"127.0.0.1:{brokers.ZooKeeper.shared.port}"
    brokers.tool("3.9.2", "org.apache.zookeeper.ZooKeeperMain", "-waitforconnection", "-server", server, input=commands.encode())
    return kafka


def _json(value):
    return json.dumps(value, separators=(",", ":"))
