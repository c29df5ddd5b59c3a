"""Workers of Kafka Connect."""

import os

from . import brokers, java, rest
from .programs import Program, kafka_class
from .scenario import check

STANDALONE = "org.apache.kafka.connect.cli.ConnectStandalone"
DISTRIBUTED = "org.apache.kafka.connect.cli.ConnectDistributed"


def properties(path, settings):
    with open(path, "w") as out:
        out.writelines(f"{key}={value}\n" for key, value in settings.items())
    return path


def of_group(group):
    """The settings of a distributed worker, with three topics that are named by its group; one that died is missed soon."""
    settings = {"group.id": group, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    settings |= {
        "scheduled.rebalance.max.delay.ms": 1000,
        "offset.storage.partitions": 5,
        "status.storage.partitions": 3,
    }
    for name in ("config", "offset", "status"):
        settings |= {f"{name}.storage.topic": f"{group}-{name}", f"{name}.storage.replication.factor": 1}
    return settings


class Worker(Program):
    """Its files begin with `path`."""

    def __init__(self, broker, version, name, path, settings, *connectors):
        port = brokers.free_port()
        self.url = f"http://127.0.0.1:{port}"
        common = {"bootstrap.servers": broker.bootstrap, "listeners": self.url, "offset.flush.interval.ms": 500}
        written = properties(path + ".properties", {**common, **settings})
        command = kafka_class(os.path.dirname(path), java.libraries(f"connect-{version}"), name, written, *connectors)
        super().__init__(command, path)

    def ask(self, method, path, body=None):
        """None while it cannot answer: it starts, or the workers agree on who does what."""
        check(not self.ended(), f"the worker ended:\n{self.tail()}")
        try:
            return rest.call(method, self.url + path, body)
        except rest.Refused as refused:
            if refused.code in (404, 409, 500, 503):
                return None
            raise
        except OSError:
            return None

    def put(self, connector, settings):
        return self.ask("PUT", f"/connectors/{connector}/config", settings)

    def tasks(self, connector):
        """{task or "connector": (state, worker)} of a connector."""
        status = self.ask("GET", f"/connectors/{connector}/status")
        if not status:
            return {}
        found = {task["id"]: (task["state"], task["worker_id"]) for task in status["tasks"]}
        found["connector"] = status["connector"]["state"], status["connector"]["worker_id"]
        return found

    def running(self, connector):
        """The worker of the connector's only task, once both run."""
        found = self.tasks(connector)
        check("FAILED" not in str(found), f"{connector}: {self.ask('GET', f'/connectors/{connector}/status')}")
        whole = set(found) == {0, "connector"} and all(state == "RUNNING" for state, _ in found.values())
        return found[0][1] if whole else None
