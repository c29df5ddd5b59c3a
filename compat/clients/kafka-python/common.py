"""What the drivers of kafka-python and of aiokafka have in common: aiokafka began as kafka-python for asyncio, and their
producers and consumers have the same methods. See ../README.md."""

import time

from harness.driver import ERRORS, Refused

SECONDS = 60
COMMON = {"retry_backoff_ms": 50, "request_timeout_ms": SECONDS * 1000}
CONSUMER = {"enable_auto_commit": False, "auto_offset_reset": "earliest", "fetch_max_wait_ms": 100}
FIELDS = ("topic", "partition", "offset", "timestamp", "key", "value", "headers")


def refusal(error):
    """Of an exception, of its class or of a code."""
    code = error if isinstance(error, int) else getattr(error, "errno", None)
    return Refused(ERRORS.get(code, getattr(error, "__name__", type(error).__name__)), str(error))


def configuration(settings):
    """Kafka's settings as these clients have them."""
    found = {}
    for key, value in settings.items():
        if value.isdigit():
            value = int(value)
        elif key == "enable.idempotence":
            value = value == "true"
        elif key == "compression.type" and value == "none":
            value = None
        found[key.replace(".", "_")] = value
    return found


class Common:
    """A driver is made of this; `api` is the client's module, `roles` its classes with what they are given of their own."""

    polling = "poll"

    def __init__(self):
        self.handles, self.given, self.kept = {}, {}, {}

    def call(self, function, *arguments, **named):
        """aiokafka's are called in its loop, and waited for."""
        return function(*arguments, **named)

    def asked(self, function, *arguments, **named):
        try:
            return self.call(function, *arguments, **named)
        except self.api.errors.KafkaError as error:
            raise refusal(error) from error

    def hello(self):
        return {"version": self.api.__version__}

    def made(self, role, settings):
        kind, more = self.roles[role]
        return self.asked(kind, **{**COMMON, **(CONSUMER if role == "consumer" else {}), **more, **settings})

    def open(self, handle, role, bootstrap, settings):
        self.kept[handle] = []
        self.given[handle] = {"bootstrap_servers": bootstrap, **configuration(settings)}
        self.handles[handle] = self.made(role, self.given[handle])

    def close(self, handle):
        self.shut(self.handles.pop(handle))

    def shut(self, client):
        self.asked(client.close)

    def produce(self, handle, topic, records):
        producer = self.handles[handle]

        def sent(record):
            more = {name: record[name] for name in ("key", "partition") if name in record}
            if "timestamp" in record:
                more["timestamp_ms"] = record["timestamp"]
            if "headers" in record:
                more["headers"] = [tuple(header) for header in record["headers"]]
            try:
                return self.asked(producer.send, topic, record.get("value"), **more)
            except Refused as refused:
                return refused

        def answered(sending):
            try:
                if isinstance(sending, Refused):
                    raise sending
                found = self.asked(self.delivered, sending)
                # aiokafka tells nothing with acks 0.
                return {"partition": found and found.partition, "offset": found and found.offset}
            except Refused as refused:
                return {"error": refused.name, "text": str(refused)}

        return {"records": [answered(sending) for sending in [sent(record) for record in records]]}

    @staticmethod
    def delivered(sending):
        return sending.get(SECONDS)

    def assign(self, handle, topic, partitions):
        consumer = self.handles[handle]
        self.kept[handle] = []
        starts = {self.api.TopicPartition(topic, partition): start for partition, start in partitions}
        self.asked(consumer.assign, list(starts))
        for at, start in starts.items():
            self.asked(consumer.seek, at, self.offset(consumer, at, start))

    def offset(self, consumer, at, start):
        if start in ("beginning", "earliest"):
            return self.asked(consumer.beginning_offsets, [at])[at]
        if start in ("end", "latest"):
            return self.asked(consumer.end_offsets, [at])[at]
        if "offset" in start:
            return start["offset"]
        return self.asked(consumer.offsets_for_times, {at: start["timestamp"]})[at].offset

    def subscribe(self, handle, topics=(), pattern=None):
        self.asked(self.handles[handle].subscribe, topics=topics, pattern=pattern and f"^{pattern}$")

    def poll(self, handle, count, timeout_ms):
        consumer, records = self.handles[handle], self.kept[handle]
        self.kept[handle] = []
        deadline = time.monotonic() + timeout_ms / 1000
        while len(records) < count and (left := deadline - time.monotonic()) > 0:
            records += self.polled(consumer, int(left * 1000))
        return {"records": records, "assignment": [list(one) for one in self.asked(consumer.assignment)]}

    def polled(self, consumer, timeout_ms):
        came = self.asked(getattr(consumer, self.polling), timeout_ms=timeout_ms)
        return [{name: getattr(record, name) for name in FIELDS} for records in came.values() for record in records]

    def commit(self, handle, offsets, **how):
        given = {
            self.api.TopicPartition(topic, partition): self.api.structs.OffsetAndMetadata(offset, "")
            for topic, partition, offset in offsets
        }
        if how["async"]:
            self.commit_async(handle, given)
        else:
            self.asked(self.handles[handle].commit, given)

    def commit_async(self, handle, given):
        consumer, reports = self.handles[handle], []
        consumer.commit_async(given, callback=lambda _, report: reports.append(report))
        while not reports:
            self.kept[handle] += self.polled(consumer, 50)
        if isinstance(reports[0], Exception):
            raise refusal(reports[0])

    def seek(self, handle, topic, partition, offset):
        self.kept[handle] = []
        self.asked(self.handles[handle].seek, self.api.TopicPartition(topic, partition), offset)

    def pause(self, handle, topic, partition):
        self.asked(self.handles[handle].pause, self.api.TopicPartition(topic, partition))

    def resume(self, handle, topic, partition):
        self.asked(self.handles[handle].resume, self.api.TopicPartition(topic, partition))


class PlainAdmin:
    """The commands of administration where the client gives Kafka's responses as they are; `admin` is its module of that."""

    def checked(self, answer, *codes):
        for code in codes:
            if code:
                raise refusal(code)
        return answer

    def create_topic(self, handle, topic, partitions, configs):
        new = self.admin.NewTopic(topic, partitions, 1, topic_configs=configs)
        answer = self.asked(self.handles[handle].create_topics, [new])
        self.checked(answer, *(code for _, code, _ in answer.topic_errors))

    def describe_topic(self, handle, topic):
        found = self.described(self.handles[handle], topic)
        fields = ("partition", "leader", "replicas", "isr")
        self.checked(found, found["error_code"])
        return {"partitions": [{name: row[name] for name in fields} for row in found["partitions"]]}

    def described(self, admin, topic):
        return self.asked(admin.describe_topics, [topic])[0]

    def create_partitions(self, handle, topic, count):
        self.asked(self.handles[handle].create_partitions, {topic: self.admin.NewPartitions(count)})

    def configs(self, topic, configs=None):
        resources = self.admin.config_resource
        return [resources.ConfigResource(resources.ConfigResourceType.TOPIC, topic, configs)]

    def alter_configs(self, handle, topic, configs):
        answer = self.asked(self.handles[handle].alter_configs, self.configs(topic, configs))
        for one in answer if isinstance(answer, list) else [answer]:
            self.checked(one, *(resource[0] for resource in one.resources))

    def describe_configs(self, handle, topic):
        (answer,) = self.asked(self.handles[handle].describe_configs, self.configs(topic))
        ((code, _, _, _, entries),) = answer.resources
        return self.checked({"configs": {entry[0]: entry[1] for entry in entries}}, code)

    def delete_topic(self, handle, topic):
        answer = self.asked(self.handles[handle].delete_topics, [topic])
        self.checked(answer, *(code for _, code in answer.topic_error_codes))

    def list_offsets(self, handle, topic, partitions, at):
        """A consumer's."""
        consumer = self.made("consumer", self.given[handle])
        start = at if isinstance(at, str) else {"timestamp": at}
        try:
            ends = [[one, self.offset(consumer, self.api.TopicPartition(topic, one), start)] for one in partitions]
        finally:
            self.shut(consumer)
        return {"offsets": ends}

    def list_groups(self, handle):
        return {"groups": [group for group, *_ in self.asked(self.handles[handle].list_consumer_groups)]}

    def group_offsets(self, handle, group):
        found = self.asked(self.handles[handle].list_consumer_group_offsets, group)
        return {"offsets": [[*at, offset.offset] for at, offset in found.items()]}
