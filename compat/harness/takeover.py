"""Log directories of Barnabas go over to a real Kafka 3.9.2. What Kafka must find in ZooKeeper is what our store holds, node
for node: the cluster's id, the topics with their ids, assignments and configurations, the partitions' leaders and epochs, the
last block of producer ids."""

import json
import os
import re
import subprocess

from . import brokers, places


def nodes_of(log_dir):
    """{path: data, or None} of the store's nodes, but for those that go with a session and those that are ours alone."""
    file = os.path.join(log_dir, "barnabas-store")
    said = subprocess.run([places.barnabas(), "dump", "--json", file], stdout=subprocess.PIPE, check=True).stdout
    nodes = [json.loads(line) for line in said.splitlines()]
    lasting = [node for node in nodes if not node["ephemeral"] and node["path"] != "/"]
    return {node["path"]: node["data"] for node in lasting if not re.match("/barnabas(/|$)", node["path"])}


def kafka_on(folder, log_dirs, configs=None, properties=None):
    """A Kafka on these directories, not started yet; `configs` take the place of the store's for the topics they name."""
    # While it loads what it found it may not come to its heartbeats, on a machine with much to do.
    patient = {"zookeeper.session.timeout.ms": 10_000, **(properties or {})}
    kafka = brokers.Kafka(folder, patient, log_dirs=log_dirs)
    nodes = {"": None, **nodes_of(log_dirs[0])}
    for topic, changed in (configs or {}).items():
        values = {key: str(value) for key, value in changed.items()}
        nodes[f"/config/topics/{topic}"] = json.dumps({"version": 1, "config": values}, separators=(",", ":"))
    # Parents come first.
    commands = "".join(
        f"create {kafka.root}{path}" + ("" if data is None else f" '{data}'") + "\n" for path, data in sorted(nodes.items())
    )
    server = f"127.0.0.1:{brokers.ZooKeeper.shared.port}"
    client = "org.apache.zookeeper.ZooKeeperMain", "-waitforconnection", "-server", server
    said = brokers.tool("3.9.2", *client, input=commands.encode())
    text = said.text + said.errors
    if text.count("Created ") != len(nodes):
        raise RuntimeError(f"not all of {len(nodes)} nodes could be created: {text[-1500:]}")
    return kafka
