"""The driver of confluent-kafka: librdkafka as Python has it. See ../README.md."""

import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic
from harness.driver import ERRORS, Refused, serve

# librdkafka's defaults are for a network: it waits up to ten seconds before it connects again.
COMMON = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}
PRODUCER = {"message.timeout.ms": 60_000, "retry.backoff.ms": 50, "linger.ms": 0, "enable.idempotence": False}
CONSUMER = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 50,
    "topic.metadata.refresh.fast.interval.ms": 50,
}
# Others have the same name.
NAMES = {"max.request.size": "message.max.bytes", "metadata.max.age.ms": "topic.metadata.refresh.interval.ms"}
SECONDS = 60


def refusal(error):
    """librdkafka's own errors have codes below 0."""
    return Refused(ERRORS.get(error.code(), error.name()), error.str())


def asked(call):
    """What a call of the library gives, or the futures that it gives for one thing."""
    try:
        found = call()
        if isinstance(found, dict):
            (found,) = found.values()
        return found.result(SECONDS) if hasattr(found, "result") else found
    except KafkaException as exception:
        raise refusal(exception.args[0]) from None


class Reader:
    """A consumer, and what came while a commit was waited for."""

    def __init__(self, settings):
        self.reports = []
        self.kept = []
        self.rebalances = 0
        self.consumer = Consumer({**settings, "on_commit": lambda error, _: self.reports.append(error)})

    def subscribe(self, topics):
        def counted(*_):
            self.rebalances += 1

        # With these the client waits for a poll before it gives partitions up or takes them.
        self.consumer.subscribe(topics, on_assign=counted, on_revoke=counted, on_lost=counted)

    def close(self):
        # A call about partitions that waits for its turn may wait for ever when the consumer is closed, and every other
        # consumer of the process with it, since it has Python's lock (librdkafka's issue 4884, as of 2.16.0): a session timed
        # out in a commit, say, and no poll came since.
        deadline = time.monotonic() + 1
        while self.consumer.poll(0) is not None and time.monotonic() < deadline:
            pass
        self.consumer.close()

    def next(self, seconds):
        message = self.kept.pop(0) if self.kept else self.consumer.poll(seconds)
        # Errors in place of a message are told for information: the consumer goes on.
        return None if message is None or message.error() else message


class Admin(AdminClient):
    def __init__(self, settings):
        self.settings = settings
        super().__init__(settings)


class Driver:
    def __init__(self):
        self.handles = {}

    def hello(self):
        return {"version": confluent_kafka.__version__, "library": f"librdkafka {confluent_kafka.libversion()[0]}"}

    def open(self, handle, role, bootstrap, settings):
        settings = {NAMES.get(key, key): value for key, value in settings.items()}
        common = {"bootstrap.servers": bootstrap, **COMMON}
        if role == "producer":
            self.handles[handle] = Producer({**common, **PRODUCER, **settings})
        elif role == "consumer":
            # A consumer has a group, also where it makes no use of it.
            self.handles[handle] = Reader({**common, **CONSUMER, "group.id": handle, **settings})
        else:
            self.handles[handle] = Admin({**common, "allow.auto.create.topics": False, **settings})

    def close(self, handle):
        closed = self.handles.pop(handle)
        if isinstance(closed, Reader):
            closed.close()

    def produce(self, handle, topic, records):
        producer, answers = self.handles[handle], [None] * len(records)

        def delivered(number):
            def report(error, message):
                if error is None:
                    # None with acks 0.
                    answers[number] = {"partition": message.partition(), "offset": message.offset()}
                else:
                    refused = refusal(error)
                    answers[number] = {"error": refused.name, "text": str(refused)}

            return report

        for number, record in enumerate(records):
            given = {name: record[name] for name in ("partition", "timestamp", "key") if name in record}
            if "headers" in record:
                given["headers"] = [tuple(header) for header in record["headers"]]
            asked(lambda: producer.produce(topic, record.get("value"), on_delivery=delivered(number), **given))
        producer.flush()
        return {"records": answers}

    def assign(self, handle, topic, partitions):
        consumer = self.handles[handle].consumer
        self.handles[handle].kept = []
        found = []
        for partition, start in partitions:
            at = TopicPartition(topic, partition)
            if start == "beginning":
                at.offset = confluent_kafka.OFFSET_BEGINNING
            elif start == "end":
                at.offset = asked(lambda: consumer.get_watermark_offsets(at, SECONDS))[1]
            elif "offset" in start:
                at.offset = start["offset"]
            else:
                at.offset = start["timestamp"]
                (at,) = asked(lambda: consumer.offsets_for_times([at], SECONDS))
            found.append(at)
        asked(lambda: consumer.assign(found))

    def subscribe(self, handle, topics=None, pattern=None):
        asked(lambda: self.handles[handle].subscribe(topics or [f"^{pattern}$"]))

    def poll(self, handle, count, timeout_ms):
        reader, records = self.handles[handle], []
        deadline = time.monotonic() + timeout_ms / 1000
        while len(records) < count and (left := deadline - time.monotonic()) > 0:
            # One without a value is false.
            if (message := reader.next(left)) is not None:
                records.append(
                    {
                        "topic": message.topic(),
                        "partition": message.partition(),
                        "offset": message.offset(),
                        "timestamp": message.timestamp()[1],
                        "key": message.key(),
                        "value": message.value(),
                        "headers": message.headers(),
                    }
                )
        assignment = [[one.topic, one.partition] for one in asked(reader.consumer.assignment)]
        return {"records": records, "assignment": assignment, "rebalances": reader.rebalances}

    def commit(self, handle, offsets, **how):
        reader = self.handles[handle]
        given = [TopicPartition(*one) for one in offsets]
        if not how["async"]:
            for one in asked(lambda: reader.consumer.commit(offsets=given, asynchronous=False)):
                if one.error:
                    raise refusal(one.error)
            return
        reader.reports.clear()
        asked(lambda: reader.consumer.commit(offsets=given, asynchronous=True))
        while not reader.reports:
            if (message := reader.consumer.poll(0.05)) is not None:
                reader.kept.append(message)
        if reader.reports[0]:
            raise refusal(reader.reports[0])

    def seek(self, handle, topic, partition, offset):
        self.handles[handle].kept = []
        asked(lambda: self.handles[handle].consumer.seek(TopicPartition(topic, partition, offset)))

    def pause(self, handle, topic, partition):
        asked(lambda: self.handles[handle].consumer.pause([TopicPartition(topic, partition)]))

    def resume(self, handle, topic, partition):
        asked(lambda: self.handles[handle].consumer.resume([TopicPartition(topic, partition)]))

    def create_topic(self, handle, topic, partitions, configs):
        asked(lambda: self.handles[handle].create_topics([NewTopic(topic, partitions, 1, config=configs)]))

    def describe_topic(self, handle, topic):
        found = asked(lambda: self.handles[handle].list_topics(topic, SECONDS)).topics[topic]
        if found.error:
            raise refusal(found.error)
        rows = found.partitions.values()
        return {
            "partitions": [
                {"partition": one.id, "leader": one.leader, "replicas": one.replicas, "isr": one.isrs} for one in rows
            ]
        }

    def create_partitions(self, handle, topic, count):
        asked(lambda: self.handles[handle].create_partitions([NewPartitions(topic, count)]))

    def alter_configs(self, handle, topic, configs):
        admin = self.handles[handle]
        if hasattr(admin, "incremental_alter_configs"):
            from confluent_kafka.admin import AlterConfigOpType, ConfigEntry

            operation = AlterConfigOpType.SET
            entries = [ConfigEntry(key, value, incremental_operation=operation) for key, value in configs.items()]
            resource = ConfigResource("topic", topic, incremental_configs=entries)
            asked(lambda: admin.incremental_alter_configs([resource]))
        else:
            asked(lambda: admin.alter_configs([ConfigResource("topic", topic, set_config=configs)]))

    def describe_configs(self, handle, topic):
        found = asked(lambda: self.handles[handle].describe_configs([ConfigResource("topic", topic)]))
        return {"configs": {key: entry.value for key, entry in found.items()}}

    def delete_topic(self, handle, topic):
        asked(lambda: self.handles[handle].delete_topics([topic]))

    def list_offsets(self, handle, topic, partitions, at):
        admin = self.handles[handle]
        if not hasattr(admin, "list_offsets"):
            return {"offsets": [[partition, self._consumers_offset(admin, topic, partition, at)] for partition in partitions]}
        from confluent_kafka.admin import OffsetSpec

        named = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest}
        spec = named[at]() if at in named else OffsetSpec.for_timestamp(at)
        found = [(partition, {TopicPartition(topic, partition): spec}) for partition in partitions]
        return {"offsets": [[one, asked(lambda: admin.list_offsets(which)).offset] for one, which in found]}

    @staticmethod
    def _consumers_offset(admin, topic, partition, at):
        consumer = Consumer({**admin.settings, **CONSUMER, "group.id": "offsets"})
        try:
            if at in ("earliest", "latest"):
                ends = asked(lambda: consumer.get_watermark_offsets(TopicPartition(topic, partition), SECONDS))
                return ends[at == "latest"]
            return asked(lambda: consumer.offsets_for_times([TopicPartition(topic, partition, at)], SECONDS))[0].offset
        finally:
            consumer.close()

    def list_groups(self, handle):
        return {"groups": [group.group_id for group in asked(self.handles[handle].list_consumer_groups).valid]}

    def describe_group(self, handle, group):
        found = asked(lambda: self.handles[handle].describe_consumer_groups([group]))
        members = [
            {
                "client_id": member.client_id,
                "assignment": [[one.topic, one.partition] for one in member.assignment.topic_partitions],
            }
            for member in found.members
        ]
        return {"state": found.state.name.capitalize(), "members": members}

    def group_offsets(self, handle, group):
        request = [confluent_kafka.ConsumerGroupTopicPartitions(group)]
        found = asked(lambda: self.handles[handle].list_consumer_group_offsets(request))
        return {"offsets": [[one.topic, one.partition, one.offset] for one in found.topic_partitions]}

    def delete_group(self, handle, group):
        asked(lambda: self.handles[handle].delete_consumer_groups([group]))


serve(Driver())
