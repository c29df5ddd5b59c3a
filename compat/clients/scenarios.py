"""What each client does, once for all of them: see README.md. A scenario is a function of a `bench.Context`; what came of it
is looked at on the wire too, by a client of our own."""

import collections
import time

from harness import wire
from harness.programs import PATIENCE, until
from harness.scenario import check, equal

from .bench import Registry
from .driver import Refused

SCENARIOS = Registry()
scenario = SCENARIOS


# --- helpers -----------------------------------------------------------------------------------------------------


def numbered(count, start=0):
    return [(b"k%d" % n, b"value %d" % n) for n in range(start, start + count)]


def pairs(records):
    """Of records that a consumer got."""
    return [(record.key, record.value) for record in records]


def logged(context, topic, partition=0):
    """Key and value of all that is in the log."""
    with context.broker.connect() as client:
        return [(key, value) for _, _, key, value, _ in client.read_all(topic, partition)]


def write(context, topic, records, partition=0, **more):
    """By our own client."""
    with context.broker.connect() as client:
        return client.produce(topic, wire.batch(records, **more), partition)


def batches(context, topic):
    with context.broker.connect() as client:
        end, offset, found = client.list_offset(topic)[1], 0, []
        while offset < end:
            found += wire.batches(client.fetch(topic, offset, max_bytes=8 << 20)[2])
            offset = found[-1].last_offset + 1
    check(all(batch.crc_is_right() for batch in found), "a wrong checksum")
    return found


def refused(names, action):
    """The action is answered with one of these errors."""
    try:
        action()
    except Refused as refusal:
        check(refusal.name in names.split(), f"{refusal}, expected {names}")
    else:
        raise AssertionError(f"not refused, {names} expected")


def committed(context, group, topic, partitions=1):
    with context.broker.connect() as client:
        return client.committed(group, topic, partitions)


def poll_all(context, members):
    """One poll of each, at the same time; all that came. A member polls on until the others' polls are answered too: some
    clients wait in a poll until the others have joined."""
    waiting = set(members)

    def polled(member):
        try:
            came = member.poll()
        finally:
            waiting.discard(member)
        while waiting:
            came += member.poll()
        return came

    return [record for records in context.side_by_side(polled, members) for record in records]


def settled(context, members, *sizes):
    """Polls until the members have that many partitions each, none twice. What came meanwhile."""
    came, deadline = [], time.time() + PATIENCE
    while True:
        came += poll_all(context, members)
        held = [member.assignment for member in members]
        if sorted(map(len, held)) == sorted(sizes) and len(frozenset().union(*held)) == sum(sizes):
            return came
        check(time.time() < deadline, f"partitions of the members: {held}, expected {sizes}")


def gathered(context, members, values, came=()):
    """Polls until all these values have come, counting what came before."""
    seen, deadline = {record.value for record in came}, time.time() + PATIENCE
    while not values <= seen:
        seen |= {record.value for record in poll_all(context, members)}
        check(time.time() < deadline, f"{len(values - seen)} of {len(values)} records did not come: {sorted(values - seen)[:5]}")


def limited(context, topic, size):
    """Whether the topic takes no batch that is larger, and one that is hardly smaller."""
    try:
        write(context, topic, [(None, b"x" * (size - 100))])
        write(context, topic, [(None, b"x" * size)])
    except wire.ErrorCode as error:
        equal(error.code, 10, "error of a batch that is too large")
        with context.broker.connect() as client:
            return client.list_offset(topic)[1] > 0
    return False


# --- produce -----------------------------------------------------------------------------------------------------


ACKS = {"0": 0, "1": 1, "all": -1}


def _acks(level):
    @scenario(f"acks-{level}")
    def _(context):
        topic = context.topic()
        # By the name one knows them on the wire.
        sent = [(key, b"%s: %s" % (topic.encode(), value)) for key, value in numbered(100)]
        context.producer(context.overheard.bootstrap, acks=level).produce(topic, sent)
        # With 0 the client knows nothing of it.
        until(lambda: len(logged(context, topic)) >= 100, "100 records are in the log")
        equal(logged(context, topic), sent, "the log")
        asked = set(context.overheard.acks(f"{topic}: ".encode()))
        equal(asked, {ACKS[level]}, "acks of the Produce requests")


def _codec(name):
    @scenario(f"codec-{name}")
    def _(context):
        topic = context.topic()
        sent = [(b"k%d" % n, b"%d " % n * 200) for n in range(200)]
        context.producer(compression_type=name).produce(topic, sent)
        found = batches(context, topic)
        equal({batch.codec for batch in found}, {name}, "codecs of the batches in the log")
        equal(sum(batch.count for batch in found), 200, "records in the log")
        reader = context.consumer()
        reader.assign(topic, "beginning")
        equal(pairs(reader.read(200)), sent, "read")


for level in ACKS:
    _acks(level)
for codec in wire.CODECS:
    _codec(codec)


@scenario("keys")
def _(context):
    topic = context.topic(4)
    sent = [(b"\0\xff %d" % (n % 20), b"%d" % n) for n in range(200)]
    context.producer().produce(topic, sent)
    reader = context.consumer()
    reader.assign(topic, "beginning", range(4))
    read = reader.read(200)
    equal(sorted(pairs(read)), sorted(sent), "read")
    homes = {}
    for record in read:
        homes.setdefault(record.key, set()).add(record.partition)
    check(all(len(home) == 1 for home in homes.values()), f"a key in two partitions: {homes}")
    check(len(frozenset().union(*homes.values())) > 1, f"all keys in one partition: {homes}")


@scenario("partitions")
def _(context):
    topic = context.topic(3)
    sent = [{"partition": n % 3, "key": b"same", "value": b"%d" % n} for n in range(30)]
    context.producer().produce(topic, sent)
    for partition in range(3):
        expected = [(b"same", b"%d" % n) for n in range(30) if n % 3 == partition]
        equal(logged(context, topic, partition), expected, f"the log of {partition}")


@scenario("produce-offsets")
def _(context):
    topic = context.topic(2)
    producer = context.producer()
    for start in (0, 10):
        sent = [{"partition": n % 2, "value": b"%d" % n} for n in range(20)]
        expected = [{"partition": n % 2, "offset": start + n // 2} for n in range(20)]
        equal(producer.produce(topic, sent), expected, "what the producer was told")


def _headers(name, headers):
    @scenario(name, "headers")
    def _(context):
        topic = context.topic()
        context.producer().produce(topic, [{"key": b"k", "value": b"v", "headers": headers}])
        with context.broker.connect() as client:
            in_log = client.read_all(topic)[0][4]
        # A client that keeps headers in a map groups those of one name.
        equal(sorted(in_log), sorted(headers), "headers in the log")
        reader = context.consumer()
        reader.assign(topic, "beginning")
        equal(sorted(reader.read(1)[0].headers), sorted(headers), "headers read")


_headers("headers", [("a", b"1"), ("b", b"two \xff words")])
_headers("repeated-header", [("a", b"1"), ("b", b"2"), ("a", b"3")])
_headers("empty-header", [("empty", b"")])


@scenario("tombstones")
def _(context):
    topic = context.topic()
    sent = [(b"gone", None), (None, b"no key")]
    context.producer().produce(topic, sent)
    equal(logged(context, topic), sent, "the log")
    reader = context.consumer()
    reader.assign(topic, "beginning")
    equal(pairs(reader.read(2)), sent, "read")


@scenario("empty-not-null")
def _(context):
    topic = context.topic()
    context.producer().produce(topic, [(b"k", b"")])
    equal(logged(context, topic), [(b"k", b"")], "the log")
    reader = context.consumer()
    reader.assign(topic, "beginning")
    equal(pairs(reader.read(1)), [(b"k", b"")], "read")


@scenario("timestamps")
def _(context):
    topic = context.topic()
    base = int(time.time() * 1000) - 3_600_000
    context.producer().produce(topic, [{"value": b"%d" % n, "timestamp": base + n * 1000} for n in range(10)])
    expected = [base + n * 1000 for n in range(10)]
    with context.broker.connect() as client:
        equal([record[1] for record in client.read_all(topic)], expected, "timestamps in the log")
    reader = context.consumer()
    reader.assign(topic, "beginning")
    equal([record.timestamp for record in reader.read(10)], expected, "timestamps read")


LIMIT = 100_000


def largest(context, topic, producer):
    """The size of the value with which a batch of this producer is as large as the topic allows."""
    producer.produce(topic, [{"value": b"x" * (LIMIT - 5000)}])
    with context.broker.connect() as client:
        last = client.list_offset(topic)[1] - 1
        batch = next(wire.batches(client.fetch(topic, last)[2]))
    return LIMIT - (len(batch.data) - (LIMIT - 5000))


@scenario("large-at-limit")
def _(context):
    topic = context.topic(max_message_bytes=LIMIT)
    producer = context.producer()
    size = largest(context, topic, producer)
    producer.produce(topic, [{"value": b"y" * size}])
    equal([len(batch.data) for batch in batches(context, topic)][-1], LIMIT, "bytes of the batch in the log")
    reader = context.consumer()
    reader.assign(topic, "beginning")
    equal(reader.read(2)[1].value, b"y" * size, "read")


@scenario("large-over-limit")
def _(context):
    topic = context.topic(max_message_bytes=LIMIT)
    producer = context.producer()
    size = largest(context, topic, producer)
    answer = producer.attempt(topic, [{"value": b"y" * (size + 1)}])[0]
    equal(answer.get("error"), "MESSAGE_TOO_LARGE", "error of a record that is one byte too large")
    producer.produce(topic, [{"value": b"after"}])
    equal([len(value) for _, value in logged(context, topic)], [LIMIT - 5000, 5], "sizes of the values in the log")


@scenario("large-record")
def _(context):
    topic = context.topic(max_message_bytes=4_000_000)
    large = bytes(range(256)) * 12_000
    context.producer(max_request_size=4_000_000).produce(topic, [{"value": large}, {"value": b"after"}])
    reader = context.consumer(max_partition_fetch_bytes=4_000_000)
    reader.assign(topic, "beginning")
    check([record.value for record in reader.read(2)] == [large, b"after"], "not what was sent")


@scenario("auto-created")
def _(context):
    context.producer().produce(context.name(), numbered(10))
    with context.broker.connect() as client:
        client.await_leaders(context.name(), 2)
        error, partitions = client.metadata([context.name()])[1][context.name()]
    equal((error, sorted(partitions)), (0, [0, 1]), "error and partitions")
    in_log = logged(context, context.name()) + logged(context, context.name(), 1)
    equal(sorted(in_log), sorted(numbered(10)), "the logs")


@scenario("idempotent-dropped-connections", "idempotence")
def _(context):
    topic = context.topic()
    producer = context.producer(context.way.bootstrap, enable_idempotence="true", acks="all")
    for start in range(0, 200, 10):
        producer.produce(topic, numbered(10, start))
    check(context.way.cuts >= 3, f"only {context.way.cuts} answers were lost in {context.way.produced} requests")
    equal(logged(context, topic), numbered(200), "the log")


# --- consume -----------------------------------------------------------------------------------------------------


@scenario("from-beginning")
def _(context):
    topic = context.topic()
    write(context, topic, numbered(50))
    with context.broker.connect() as client:
        client.delete_records(topic, 5)
    reader = context.consumer()
    reader.assign(topic, "beginning")
    read = reader.read(45)
    equal([record.offset for record in read], list(range(5, 50)), "offsets")
    equal(pairs(read), numbered(45, 5), "read")


@scenario("from-end")
def _(context):
    topic = context.topic()
    write(context, topic, numbered(20))
    reader = context.consumer()
    reader.assign(topic, "end")
    write(context, topic, numbered(5, 20))
    equal([(record.offset, record.value) for record in reader.read(5)], [(n, b"value %d" % n) for n in range(20, 25)], "read")


@scenario("from-offset")
def _(context):
    topic = context.topic(2)
    for partition in range(2):
        write(context, topic, numbered(50), partition)
    reader = context.consumer()
    reader.tell("assign", topic=topic, partitions=[[0, {"offset": 37}], [1, {"offset": 49}]])
    read = sorted((record.partition, record.offset) for record in reader.read(14))
    equal(read, [(0, n) for n in range(37, 50)] + [(1, 49)], "partitions and offsets")


@scenario("from-timestamp")
def _(context):
    topic = context.topic()
    base = int(time.time() * 1000) - 3_600_000
    for n in range(10):
        write(context, topic, numbered(5, n * 5), timestamps=[base + n * 1000 + i * 10 for i in range(5)])
    for timestamp, expected in [(base - 1, 0), (base + 3000, 15), (base + 3011, 17), (base + 3041, 20)]:
        reader = context.consumer()
        reader.assign(topic, {"timestamp": timestamp})
        equal(reader.read(1)[0].offset, expected, f"first offset from base{timestamp - base:+}")
        reader.close()


@scenario("seek")
def _(context):
    topic = context.topic()
    write(context, topic, numbered(50))
    reader = context.consumer()
    reader.assign(topic, "beginning")
    equal(len(reader.read(50)), 50, "records")
    for offset in (10, 40, 0):
        reader.tell("seek", topic=topic, partition=0, offset=offset)
        equal([record.offset for record in reader.read(50 - offset)], list(range(offset, 50)), f"offsets from {offset}")


@scenario("pause")
def _(context):
    topic = context.topic(2)
    reader = context.consumer()
    reader.assign(topic, "beginning", (0, 1))
    for partition in (0, 1):
        write(context, topic, [(None, b"first")], partition)
    equal(sorted(record.partition for record in reader.read(2)), [0, 1], "partitions")
    reader.tell("pause", topic=topic, partition=0)
    write(context, topic, [(None, b"kept back")], 0)
    for n in range(3):
        write(context, topic, [(None, b"%d" % n)], 1)
        equal([(record.partition, record.value) for record in reader.read(1)], [(1, b"%d" % n)], "while 0 is paused")
    reader.tell("resume", topic=topic, partition=0)
    equal([(record.partition, record.value) for record in reader.read(1)], [(0, b"kept back")], "after that")


@scenario("reads-old-formats")
def _(context):
    topic = context.topic()
    now = int(time.time() * 1000)
    with context.broker.connect() as client:
        for n, (magic, codec) in enumerate([(0, "none"), (0, "gzip"), (1, "none"), (1, "gzip")]):
            times = [now + i for i in range(10)] if magic else None
            sent = wire.message_set(magic, numbered(10, n * 10), codec, times)
            client.produce(topic, sent, version=2 if magic else 0)
        client.produce(topic, wire.batch([(*pair, [("h", b"1")]) for pair in numbered(10, 40)]))
    reader = context.consumer()
    reader.assign(topic, "beginning")
    read = reader.read(50)
    equal(pairs(read), numbered(50), "read")
    equal([record.offset for record in read], list(range(50)), "offsets")


@scenario("read-by-old-clients")
def _(context):
    topic = context.topic()
    context.producer().produce(topic, numbered(20))
    context.producer(compression_type="gzip").produce(topic, numbered(20, 20))
    with context.broker.connect() as client:
        for version in (0, 2):
            read = []
            while len(read) < 40:
                came = client.fetch_messages(topic, len(read), version)
                check(came, f"nothing at {len(read)} by Fetch v{version}")
                read += came
            equal([offset for offset, *_ in read], list(range(40)), f"offsets by Fetch v{version}")
            equal([(key, value) for _, _, key, value in read], numbered(40), f"read by Fetch v{version}")


# Kafka's own client, at both ends of its history.
OLDEST, NEWEST = ("kafka-java", "0.8.2.2"), ("kafka-java", "4.2.0")


@scenario("oldest-client-both-ways")
def _(context):
    """A client of 0.8 reads what this one writes, and the other way round; that of 0.8 itself meets the newest."""
    peer = NEWEST if context.client == OLDEST else OLDEST
    for way, writer, reader in [("to", None, peer), ("from", peer, None)]:
        topic = context.topic(1, way)
        for n, codec in enumerate(("none", "gzip")):
            context.producer(peer=writer, compression_type=codec).produce(topic, numbered(20, n * 20))
        consumer = context.consumer(peer=reader)
        consumer.assign(topic, "beginning")
        read = consumer.read(40)
        equal([record.offset for record in read], list(range(40)), f"offsets {way} {' '.join(peer)}")
        equal(pairs(read), numbered(40), f"read {way} {' '.join(peer)}")


# --- groups ------------------------------------------------------------------------------------------------------


@scenario("group-join", "group")
def _(context):
    topic = context.topic(4)
    for partition in range(4):
        write(context, topic, numbered(25, partition * 25), partition)
    member = context.member()
    member.tell("subscribe", topics=[topic])
    equal(sorted(pairs(member.read(100))), sorted(numbered(100)), "read")
    equal(member.assignment, {(topic, partition) for partition in range(4)}, "assignment")


@scenario("group-rebalance", "group")
def _(context):
    topic = context.topic(4)

    def more(start):
        for partition in range(4):
            write(context, topic, numbered(10, start + partition * 10), partition)
        return {value for _, value in numbered(40, start)}

    one, other = context.member(), context.member()
    one.tell("subscribe", topics=[topic])
    settled(context, [one], 4)
    gathered(context, [one], more(0))
    other.tell("subscribe", topics=[topic])
    settled(context, [one, other], 2, 2)
    gathered(context, [one, other], more(40))
    other.close()
    settled(context, [one], 4)
    gathered(context, [one], more(80))


@scenario("static-member", "group")
def _(context):
    topic = context.topic(4)

    def joined(instance):
        member = context.member(group_instance_id=instance, session_timeout_ms=30_000)
        member.tell("subscribe", topics=[topic])
        return member

    def instances():
        with context.broker.connect() as client:
            state, members = client.group_members(context.name())
        return state, sorted(instance or "" for instance in members.values())

    one, other = joined("one"), joined("other")
    settled(context, [one, other], 2, 2)
    equal(instances(), ("Stable", ["one", "other"]), "state and members")
    before = one.assignment, other.assignment
    other.close()
    for _ in range(3):
        one.poll()
        equal(one.assignment, before[0], "what one has while the other is away")
    equal(instances(), ("Stable", ["one", "other"]), "state and members while the other is away")
    other = joined("other")
    settled(context, [one, other], 2, 2)
    equal((one.assignment, other.assignment), before, "assignments")
    equal(instances(), ("Stable", ["one", "other"]), "state and members after that")


def _commit(name, asynchronously):
    @scenario(name, "group", "commit")
    def _(context):
        topic = context.topic(2)
        for partition in range(2):
            write(context, topic, numbered(20), partition)
        member = context.member()
        member.tell("subscribe", topics=[topic])
        member.read(40)
        equal(committed(context, context.name(), topic, 2), {0: -1, 1: -1}, "before the commit")
        member.commit({(topic, 0): 7, (topic, 1): 20}, asynchronously)
        equal(committed(context, context.name(), topic, 2), {0: 7, 1: 20}, "after it")


_commit("commit-sync", False)
_commit("commit-async", True)


@scenario("restart-at-committed", "group", "commit")
def _(context):
    topic = context.topic()
    write(context, topic, numbered(50))
    member = context.member()
    member.tell("subscribe", topics=[topic])
    member.read(50)
    member.commit({(topic, 0): 30})
    member.close()
    member = context.member()
    member.tell("subscribe", topics=[topic])
    equal([record.offset for record in member.read(20)], list(range(30, 50)), "offsets of the second member")


@scenario("two-groups", "group")
def _(context):
    topic = context.topic(2)
    members = [context.member(context.name(which)) for which in ("one", "other")]
    for member in members:
        member.tell("subscribe", topics=[topic])
    settled(context, members[:1], 2)
    settled(context, members[1:], 2)
    for partition in range(2):
        write(context, topic, numbered(20, partition * 20), partition)
    for read in context.side_by_side(lambda member: member.read(40), members):
        equal(sorted(pairs(read)), sorted(numbered(40)), "read by one of two groups")


@scenario("regex", "group")
def _(context):
    first, other = context.topic(1, "a-1"), context.topic(1, "b-1")
    member = context.member(metadata_max_age_ms=300)
    member.tell("subscribe", pattern=f"{context.name()}-a-.*")
    settled(context, [member], 1)
    equal(member.assignment, {(first, 0)}, "assignment")
    later = context.topic(1, "a-2")
    write(context, later, numbered(10))
    write(context, other, [(None, b"not this")])
    came = settled(context, [member], 2)
    equal(member.assignment, {(first, 0), (later, 0)}, "assignment after a topic was created")
    write(context, first, numbered(10, 10))
    gathered(context, [member], {value for _, value in numbered(20)}, came)


# --- admin -------------------------------------------------------------------------------------------------------


@scenario("admin-create", "admin")
def _(context):
    admin, topic = context.admin(), context.name()
    admin.tell("create_topic", topic=topic, partitions=3, configs={})
    with context.broker.connect() as client:
        client.await_leaders(topic, 3)
        equal(sorted(client.metadata([topic])[1][topic][1]), [0, 1, 2], "partitions")


@scenario("admin-create-configs", "admin")
def _(context):
    admin, topic = context.admin(), context.name()
    admin.tell("create_topic", topic=topic, partitions=1, configs={"max.message.bytes": "1000"})
    with context.broker.connect() as client:
        client.await_leaders(topic)
    check(limited(context, topic, 1000), "its configuration has no effect")


@scenario("admin-create-refused", "admin")
def _(context):
    topic, admin = context.topic(3), context.admin()
    refused("TOPIC_ALREADY_EXISTS", lambda: admin.tell("create_topic", topic=topic, partitions=3, configs={}))


def check_described(context, topic, described):
    """What a client says of the partitions is what our own is told, which is that each broker has a replica of each."""
    with context.broker.connect() as client:
        found = client.cluster([topic])
    brokers = sorted(found.brokers)
    for one in found.partitions:
        equal((sorted(one.replicas), sorted(one.isr)), (brokers, brokers), "replicas and ISR")
    partitions = sorted((one.index, one.leader, one.replicas, one.isr) for one in found.partitions)
    equal([number for number, *_ in partitions], [0, 1, 2], "partitions")
    seen = sorted((one["partition"], one["leader"], one["replicas"], one["isr"]) for one in described)
    equal(seen, partitions, "partitions as they are described")


@scenario("admin-describe", "admin")
def _(context):
    topic, admin = context.topic(3), context.admin()
    context.look(lambda: check_described(context, topic, admin.tell("describe_topic", topic=topic)["partitions"]))
    missing = context.name("missing")
    refused("UNKNOWN_TOPIC_OR_PARTITION", lambda: admin.tell("describe_topic", topic=missing))


@scenario("admin-partitions", "admin")
def _(context):
    topic, admin = context.topic(2), context.admin()
    admin.tell("create_partitions", topic=topic, count=4)
    with context.broker.connect() as client:
        client.await_leaders(topic, 4)
        equal(sorted(client.metadata([topic])[1][topic][1]), [0, 1, 2, 3], "partitions")


@scenario("admin-partitions-refused", "admin")
def _(context):
    topic, admin = context.topic(4), context.admin()
    refused("INVALID_PARTITIONS", lambda: admin.tell("create_partitions", topic=topic, count=3))


@scenario("admin-alter-configs", "admin")
def _(context):
    topic, admin = context.topic(), context.admin()
    for size, policy in (("2000", "compact,delete"), ("3000", "delete")):
        admin.tell("alter_configs", topic=topic, configs={"max.message.bytes": size, "cleanup.policy": policy})

        def altered():
            with context.broker.connect() as client:
                seen = [client.topic_config(topic, name) for name in ("max.message.bytes", "cleanup.policy")]
            equal(seen, [size, policy], "configs")

        context.look(altered)
    # On a ZooKeeper a broker hears of it a little later.
    until(lambda: limited(context, topic, 3000), "the limit holds")


@scenario("admin-alter-configs-refused", "admin")
def _(context):
    topic, admin = context.topic(max_message_bytes=2000), context.admin()
    wrong = {"max.message.bytes": "many"}
    refused("INVALID_CONFIG", lambda: admin.tell("alter_configs", topic=topic, configs=wrong))
    with context.broker.connect() as client:
        equal(client.topic_config(topic, "max.message.bytes"), "2000", "the config after that")


@scenario("admin-describe-configs", "admin")
def _(context):
    topic, admin = context.topic(max_message_bytes=2000, cleanup_policy="compact,delete"), context.admin()

    def described():
        configs = admin.tell("describe_configs", topic=topic)["configs"]
        seen = [configs.get(name) for name in ("max.message.bytes", "cleanup.policy", "segment.bytes")]
        equal(seen, ["2000", "compact,delete", "1073741824"], "configs")

    context.look(described)


@scenario("admin-delete", "admin")
def _(context):
    topic, admin = context.topic(2), context.admin()
    admin.tell("delete_topic", topic=topic)
    with context.broker.connect() as client:
        until(lambda: client.metadata([topic])[1][topic][0] == 3, "the topic is gone")
    refused("UNKNOWN_TOPIC_OR_PARTITION", lambda: admin.tell("delete_topic", topic=topic))


@scenario("admin-offsets", "admin")
def _(context):
    topic, admin = context.topic(2), context.admin()
    base = int(time.time() * 1000) - 3_600_000
    for partition, count in ((0, 10), (1, 4)):
        write(context, topic, numbered(count), partition, timestamps=[base + n * 1000 for n in range(count)])
    with context.broker.connect() as client:
        client.delete_records(topic, 3)
    for at, expected in [("earliest", [[0, 3], [1, 0]]), ("latest", [[0, 10], [1, 4]]), (base + 3000, [[0, 3], [1, 3]])]:
        found = admin.tell("list_offsets", topic=topic, partitions=[0, 1], at=at)["offsets"]
        equal(sorted(found), expected, f"offsets at {at}")


@scenario("admin-groups", "admin", "group")
def _(context):
    topic, admin = context.topic(2), context.admin()
    member = context.member(client_id="its-client-id")
    member.tell("subscribe", topics=[topic])
    settled(context, [member], 2)
    check(context.name() in admin.tell("list_groups")["groups"], "the group is not listed")
    described = admin.tell("describe_group", group=context.name())
    equal(described["state"], "Stable", "state")
    equal([one["client_id"] for one in described["members"]], ["its-client-id"], "members")
    equal(sorted(described["members"][0]["assignment"]), [[topic, 0], [topic, 1]], "assignment")
    member.close()
    described = admin.tell("describe_group", group=context.name())
    equal((described["state"], described["members"]), ("Empty", []), "state and members without the member")


@scenario("admin-group-offsets", "admin")
def _(context):
    topic, admin = context.topic(2), context.admin()
    with context.broker.connect() as client:
        client.find_coordinator(context.name())
        client.commit_offsets(context.name(), {(topic, 0): 5, (topic, 1): 0})
    offsets = admin.tell("group_offsets", group=context.name())["offsets"]
    equal(sorted(offsets), [[topic, 0, 5], [topic, 1, 0]], "committed offsets")


@scenario("admin-lag", "admin")
def _(context):
    topic, admin = context.topic(2), context.admin()
    for partition in range(2):
        write(context, topic, numbered(10), partition)
    with context.broker.connect() as client:
        client.find_coordinator(context.name())
        client.commit_offsets(context.name(), {(topic, 0): 4, (topic, 1): 10})
    ends = dict(admin.tell("list_offsets", topic=topic, partitions=[0, 1], at="latest")["offsets"])
    offsets = admin.tell("group_offsets", group=context.name())["offsets"]
    equal({partition: ends[partition] - offset for _, partition, offset in offsets}, {0: 6, 1: 0}, "lag")


@scenario("admin-delete-group", "admin", "group", "commit")
def _(context):
    topic, admin = context.topic(), context.admin()
    member = context.member()
    member.tell("subscribe", topics=[topic])
    settled(context, [member], 1)
    member.commit({(topic, 0): 0})
    refused("NON_EMPTY_GROUP", lambda: admin.tell("delete_group", group=context.name()))
    member.close()
    admin.tell("delete_group", group=context.name())
    check(context.name() not in admin.tell("list_groups")["groups"], "the group is still listed")
    equal(committed(context, context.name(), topic), {0: -1}, "committed offsets")
    refused("GROUP_ID_NOT_FOUND", lambda: admin.tell("delete_group", group=context.name()))


# --- many, and through restarts ----------------------------------------------------------------------------------


@scenario("fifty-clients")
def _(context):
    topic = context.topic(4)

    def produced(n):
        context.producer().produce(topic, numbered(20, n * 20))

    def consumed(_):
        reader = context.consumer()
        reader.assign(topic, "beginning", range(4))
        return sorted(pairs(reader.read(500)))

    producing = context.beside(lambda: context.side_by_side(produced, range(25)))
    read = context.side_by_side(consumed, range(25))
    producing.result()
    for one in read:
        equal(one, sorted(numbered(500)), "read by one of 25")


class Producing:
    """A producer that goes on until it is told to stop, in commands of 10 records to two partitions."""

    def __init__(self, context, topic, producer):
        self.topic, self.producer = topic, producer
        self.acknowledged, self.stopping = 0, False
        self.future = context.beside(self._run)

    def _run(self):
        while not self.stopping:
            records = numbered(10, self.acknowledged)
            self.producer.produce(self.topic, [{"partition": n % 2, "key": k, "value": v} for n, (k, v) in enumerate(records)])
            self.acknowledged += 10

    def go_on(self, count):
        """Waits until so many more are acknowledged."""
        aim = self.acknowledged + count
        until(lambda: self.acknowledged >= aim or self.future.done(), f"{count} records more are acknowledged")
        if self.future.done():
            self.future.result()

    def stop(self):
        self.stopping = True
        self.future.result()
        return self.acknowledged


def once_each(log, sent, may_repeat=()):
    """All that was sent is in the log of a partition, and nothing else: in order and once each, but for what may be there
    again. With that, a producer that is not idempotent may have put one before another."""
    if not may_repeat:
        return equal(log, sent, "the log, in order and once each")
    equal(sorted(set(log)), sorted(sent), "the log, without what is there again")
    again = {record for record, count in collections.Counter(log).items() if count > 1}
    equal(again - set(may_repeat), set(), "what is there again and was not under way at the restart")


def _restart(name, kill):
    @scenario(name, restarts=True)
    def _(context):
        topic = context.topic(2)
        reader = context.consumer()
        reader.assign(topic, "beginning", (0, 1))
        producer = context.producer(acks="all")
        producing = Producing(context, topic, producer)
        producing.go_on(50)
        read = reader.read(50)
        before = producing.acknowledged
        context.restart(topic, kill)
        # What was under way when the broker was back is through with the second of these commands.
        producing.go_on(20)
        after = producing.acknowledged
        producing.go_on(30)
        sent = numbered(producing.stop())
        logs = [logged(context, topic, partition) for partition in range(2)]
        # One that is not idempotent sends again what it has no answer to.
        may_repeat = () if producer.is_idempotent else sent[before:after]
        for partition in range(2):
            once_each(logs[partition], sent[partition::2], may_repeat)
        read += reader.read(sum(map(len, logs)) - len(read))
        for partition in range(2):
            ours = [record for record in read if record.partition == partition]
            equal([record.offset for record in ours], list(range(len(logs[partition]))), f"offsets read of {partition}")
            equal(pairs(ours), logs[partition], f"read of {partition}")


_restart("restart-clean", False)
_restart("restart-kill", True)


@scenario("restart-idempotent", "idempotence", restarts=True)
def _(context):
    topic = context.topic(2)
    producing = Producing(context, topic, context.producer(enable_idempotence="true", acks="all"))
    for kill in (True, False):
        producing.go_on(50)
        context.restart(topic, kill)
    producing.go_on(50)
    sent = numbered(producing.stop())
    for partition in range(2):
        once_each(logged(context, topic, partition), sent[partition::2])


@scenario("restart-group", "group", "commit", restarts=True)
def _(context):
    topic = context.topic()
    write(context, topic, numbered(20))
    member = context.member()
    member.tell("subscribe", topics=[topic])
    member.read(20)
    member.commit({(topic, 0): 15})
    context.restart(topic, kill=True, group=context.name())
    until(lambda: committed(context, context.name(), topic), "the group is loaded")
    equal(committed(context, context.name(), topic), {0: 15}, "what was committed before the broker was killed")
    write(context, topic, numbered(10, 20))
    gathered(context, [member], {value for _, value in numbered(10, 20)})
    member.commit({(topic, 0): 28})
    member.close()
    member = context.member()
    member.tell("subscribe", topics=[topic])
    equal([record.offset for record in member.read(2)], [28, 29], "offsets of the second member")
