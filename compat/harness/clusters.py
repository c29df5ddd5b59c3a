"""Clusters: brokers that share a root in one ZooKeeper, of Barnabas, of Kafka 3.9.2, or of both."""

import os
import time

from . import brokers, links, places, wire

# Short, so that tests of failures need not wait; ZooKeeper's tick is half a second.
SETTINGS = {
    "zookeeper.session.timeout.ms": 3000,
    "zookeeper.connection.timeout.ms": 30000,
    "default.replication.factor": 3,
    "min.insync.replicas": 2,
    "num.partitions": 1,
    "offsets.topic.replication.factor": 3,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "group.initial.rebalance.delay.ms": 0,
    "replica.lag.time.max.ms": 10000,
    "controlled.shutdown.retry.backoff.ms": 200,
}


class Cluster:
    """Brokers 1, 2, 3 ... of these kinds, with `settings` for all and `own` ones by number; on the ZooKeeper of all, or on
    the servers of an ensemble. They are not started yet."""

    def __init__(self, name, kinds=("barnabas",) * 3, settings=None, folder=None, own=None, ensemble=None):
        places.jars("3.9.2")
        if brokers.ZooKeeper.shared is None and not ensemble:
            brokers.ZooKeeper.shared = brokers.ZooKeeper(brokers.scratch("zookeeper"))
        self.folder = folder or brokers.scratch(name)
        self.root = "/" + os.path.basename(self.folder)
        servers = ensemble or [brokers.ZooKeeper.shared]
        self.zookeeper_connect = ",".join(f"127.0.0.1:{server.port}" for server in servers) + self.root
        self.brokers = {}
        # A JVM that starts on a busy machine says nothing for seconds.
        session_ms = 12000 if "kafka" in kinds else SETTINGS["zookeeper.session.timeout.ms"]
        settings = {"zookeeper.session.timeout.ms": session_ms, **(settings or {})}
        for number, kind in enumerate(kinds, 1):
            properties = {**SETTINGS, **settings, "broker.id": number, "zookeeper.connect": self.zookeeper_connect}
            properties.update((own or {}).get(number, {}))
            self.brokers[number] = brokers.KINDS[kind](self.folder, properties)

    def behind_links(self):
        """A link that can be cut before each broker, by its number, and before `zookeeper`. They are not started yet."""
        targets = {number: broker.port for number, broker in self.brokers.items()}
        targets["zookeeper"] = brokers.ZooKeeper.shared.port
        homes = {number: broker.folder for number, broker in self.brokers.items()}
        held = links.Links(targets, homes, os.path.join(self.folder, "links.log"))
        for number, broker in self.brokers.items():
            broker.properties["advertised.listeners"] = f"PLAINTEXT://127.0.0.1:{held.ports[number]}"
            broker.properties["zookeeper.connect"] = f"127.0.0.1:{held.ports['zookeeper']}{self.root}"
        return held

    def start(self):
        for broker in self.brokers.values():
            broker.start(wait=False)
        for broker in self.brokers.values():
            broker.await_ready(120)
        self.wait("all brokers know of each other", lambda: self.agreed(len(self.brokers)))
        return self

    def check_all_run(self):
        """A scenario leaves all brokers running, and none ends by itself."""
        gone = sorted(set(self.brokers) - set(self.running()))
        if gone:
            raise AssertionError(f"brokers {gone} do not run")

    def start_all(self):
        """Starts the brokers that do not run, so that one failed scenario is not the next one's too; what stands in the
        way of that."""
        try:
            for number, broker in self.brokers.items():
                if number not in self.running():
                    broker.start()
            self.wait("all brokers know of each other", lambda: self.agreed(len(self.brokers)))
        except (RuntimeError, AssertionError) as error:
            return f"\nand they could not be started again: {error}"
        return ""

    def agreed(self, count):
        """True when all that run see `count` brokers and one controller."""
        seen = [self.seen(number) for number in self.running()]
        return all(len(one.brokers) == count for one in seen) and len({one.controller for one in seen}) == 1

    def running(self):
        return [number for number, one in self.brokers.items() if one.process and one.process.poll() is None]

    @property
    def bootstrap(self):
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    def seen(self, number, topics=None):
        """The cluster as one broker sees it."""
        with wire.Connection(self.brokers[number].bootstrap, 10) as client:
            return client.cluster(topics)

    def any(self, topics=None):
        """As any broker that answers sees it."""
        for number in self.running():
            try:
                return self.seen(number, topics)
            except (OSError, ValueError):
                continue
        raise RuntimeError("no broker answers")

    def partition(self, topic, index=0):
        for one in self.any([topic]).partitions:
            if one.index == index:
                return one
        return None

    def leader(self, topic, index=0):
        """The leader, once there is one that runs."""
        found = []

        def led():
            one = self.partition(topic, index)
            found[:] = [one.leader] if one and one.leader in self.running() else []
            return bool(found)

        self.wait(f"{topic}-{index} has a leader", led)
        return found[0]

    def high_watermark(self, topic, index=0):
        """The high watermark of a partition, as its leader has it."""
        with wire.Connection(self.brokers[self.leader(topic, index)].bootstrap, 10) as client:
            return client.list_offset(topic, partition=index)[1]

    def in_sync(self, topic, count):
        """Waits until each partition of a topic has so many replicas in sync, on every broker's word."""

        def reached():
            for number in self.running():
                partitions = self.seen(number, [topic]).partitions
                if not partitions or any(len(one.isr) != count or one.leader < 0 for one in partitions):
                    return False
            return True

        self.wait(f"{topic} has {count} replicas in sync", reached)

    def controller(self):
        return self.any().controller

    def wait(self, what, condition, seconds=180):
        deadline = time.time() + seconds
        while True:
            try:
                if condition():
                    return
            except (OSError, ValueError, wire.ErrorCode):
                pass
            if time.time() > deadline:
                raise AssertionError(f"not after {seconds} s: {what}\n{self.state()}")
            time.sleep(0.05)

    def state(self):
        lines = []
        for number, broker in self.brokers.items():
            if number not in self.running():
                lines.append(f"broker {number} does not run: {broker.tail(5)}")
                continue
            try:
                seen = self.seen(number)
            except (OSError, ValueError) as error:
                lines.append(f"broker {number}: {error}")
                continue
            lines.append(f"broker {number} sees {sorted(seen.brokers)}, controller {seen.controller}:")
            lines += [f"  {tuple(one)}" for one in seen.partitions[:12]]
            lines.append(broker.tail(6))
        return "\n".join(lines)

    def stop(self):
        for number in self.running():
            self.brokers[number].process.terminate()
        for broker in self.brokers.values():
            if broker.process:
                broker.process.wait(90)

    def tool(self, name, *arguments, version="3.9.2", **more):
        """One of Kafka's tools, asked through any broker."""
        return brokers.tool(version, name, "--bootstrap-server", self.bootstrap, *arguments, **more)
