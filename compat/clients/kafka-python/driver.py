"""The driver of kafka-python since 3.0. See ../README.md."""

import re

import kafka
import kafka.admin
from common import Common, Refused, refusal
from harness.driver import serve
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec, OffsetTimestamp

WAITS = {"reconnect_backoff_max_ms": 200}


class Driver(Common):
    api = kafka
    roles = {
        "producer": (kafka.KafkaProducer, {**WAITS, "delivery_timeout_ms": 60_000, "enable_idempotence": False}),
        "consumer": (kafka.KafkaConsumer, WAITS),
        "admin": (kafka.KafkaAdminClient, WAITS),
    }

    def __init__(self):
        super().__init__()
        self.patterns = set()

    # Where it joins anew because of metadata, it loses what it is assigned when a poll's time is up meanwhile, and is left
    # without partitions: join_group_async comes to need_rejoin() again, which no longer holds. So it has the metadata
    # before the first poll, and polls are long where topics may come later.
    def subscribe(self, handle, topics=(), pattern=None):
        super().subscribe(handle, topics, pattern)
        self.asked(self.handles[handle].topics)
        if pattern:
            self.patterns.add(self.handles[handle])

    def polled(self, consumer, timeout_ms):
        return super().polled(consumer, max(timeout_ms, 2000) if consumer in self.patterns else timeout_ms)

    @staticmethod
    def told(answer):
        """Some of its answers hold errors as text."""
        if answer not in ("OK", None):
            code = re.match(r"\[Error (-?\d+)\]", answer)
            raise refusal(int(code[1])) if code else refusal(getattr(kafka.errors, answer))

    def create_topic(self, handle, topic, partitions, configs):
        new = {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}}
        self.asked(self.handles[handle].create_topics, new)

    def describe_topic(self, handle, topic):
        (found,) = self.asked(self.handles[handle].describe_topics, [topic])
        if found["error_code"]:
            raise refusal(found["error_code"])
        names = {"partition": "partition_index", "leader": "leader_id", "replicas": "replica_nodes", "isr": "isr_nodes"}
        return {"partitions": [{name: row[its] for name, its in names.items()} for row in found["partitions"]]}

    def create_partitions(self, handle, topic, count):
        self.asked(self.handles[handle].create_partitions, {topic: count})

    def alter_configs(self, handle, topic, configs):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
        self.told(self.asked(self.handles[handle].alter_configs, [resource])["topic"][topic])

    def describe_configs(self, handle, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self.asked(self.handles[handle].describe_configs, [resource], config_filter="all")["topic"][topic]
        return {"configs": {key: entry["value"] for key, entry in found.items()}}

    def delete_topic(self, handle, topic):
        self.asked(self.handles[handle].delete_topics, [topic])

    def list_offsets(self, handle, topic, partitions, at):
        spec = OffsetSpec[at.upper()] if isinstance(at, str) else OffsetTimestamp(at)
        wanted = {kafka.TopicPartition(topic, partition): spec for partition in partitions}
        found = self.asked(self.handles[handle].list_partition_offsets, wanted)
        return {"offsets": [[one.partition, offset.offset] for one, offset in found.items()]}

    def list_groups(self, handle):
        return {"groups": [group["group_id"] for group in self.asked(self.handles[handle].list_groups)]}

    def describe_group(self, handle, group):
        found = self.asked(self.handles[handle].describe_groups, [group])[group]
        self.told(found["error"])
        members = [
            {
                "client_id": member["client_id"],
                "assignment": [
                    [one["topic"], n] for one in member["member_assignment"]["assigned_partitions"] for n in one["partitions"]
                ],
            }
            for member in found["members"]
        ]
        return {"state": found["group_state"], "members": members}

    def group_offsets(self, handle, group):
        found = self.asked(self.handles[handle].list_group_offsets, group)[group]
        return {"offsets": [[*at, offset.offset] for at, offset in found.items()]}

    def delete_group(self, handle, group):
        self.told(self.asked(self.handles[handle].delete_groups, [group])[group])


serve(Driver())
