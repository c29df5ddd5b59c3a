"""A client of a cluster: the calls of `wire.Connection`, each at the broker that it is for."""

import inspect
import time

from . import wire
from .programs import PATIENCE

AT_LEADERS = {"produce", "fetch", "fetch_messages", "list_offset", "delete_records", "read_all"}
AT_COORDINATORS = {"committed", "commit_offsets", "group_members"}
AT_THE_CONTROLLER = {"create_topic", "delete_topic"}
# Asked again: no leader, another leader, a coordinator that loads, is not there or is another one, too few replicas in
# sync, too few brokers, another controller, epochs of before or after.
PASSING = {5, 6, 14, 15, 16, 19, 38, 41, 74, 75}
# A leader has not heard yet that it is one.
UNKNOWN_TOPIC, TOPIC_EXISTS = 3, 36


def passes(name, error):
    return error.code in PASSING or (error.code == UNKNOWN_TOPIC and name in AT_LEADERS)


class Routed:
    """Asks again, after a while, while it is the wrong broker or one that does not answer."""

    def __init__(self, brokers):
        self.brokers, self.open = brokers, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in self.open.values():
            connection.close()
        self.open.clear()

    def __getattr__(self, name):
        method = getattr(wire.Connection, name)

        def called(*values, **more):
            bound = inspect.signature(method).bind(None, *values, **more)
            bound.apply_defaults()
            return self._call(name, bound.arguments, lambda connection: method(connection, *values, **more))

        return called

    def create_topic(self, name, partitions=1, configs=None):
        """With a replica on each broker; known to, and led and in sync on the word of, all of them."""
        replicas = len(self.brokers.brokers)
        self.__getattr__("create_topic")(name, partitions, configs, replication=replicas)
        self.brokers.in_sync(name, replicas)

    def produce(self, topic, records, partition=0, **more):
        """Once: when there is no answer, it is looked at whether the records are there. Nobody else may write meanwhile."""
        before = self.list_offset(topic, partition=partition)[1]
        deadline = time.time() + PATIENCE
        while True:
            try:
                with wire.Connection(self.brokers.brokers[self.brokers.leader(topic, partition)].bootstrap) as connection:
                    return connection.produce(topic, records, partition, **more)
            except OSError:
                if self.list_offset(topic, partition=partition)[1] > before:
                    return before
            except wire.ErrorCode as error:
                if not passes("produce", error) or time.time() > deadline:
                    raise
            time.sleep(0.05)

    def _call(self, name, arguments, ask):
        deadline, is_lost = time.time() + PATIENCE, False
        while True:
            try:
                return ask(self._to(self._number(name, arguments)))
            except wire.ErrorCode as error:
                if error.code == TOPIC_EXISTS and is_lost:
                    return None  # the answer to that was
                if not passes(name, error) or time.time() > deadline:
                    raise
            except (OSError, ValueError):
                self.close()
                is_lost = True
                if time.time() > deadline:
                    raise
            time.sleep(0.05)

    def _number(self, name, arguments):
        """Of the broker that this is for."""
        if name in AT_LEADERS:
            return self.brokers.leader(arguments["topic"], arguments["partition"])
        if name in AT_COORDINATORS:
            return self._to(self.brokers.running()[0]).find_coordinator(arguments["group"])
        if name in AT_THE_CONTROLLER:
            return self.brokers.controller()
        return self.brokers.running()[0]

    def _to(self, number):
        if number not in self.open:
            self.open[number] = wire.Connection(self.brokers.brokers[number].bootstrap)
        return self.open[number]
