"""Steps of kafka-configs."""

from .steps import Step


def configs(v, version):
    t = f"c{v}"

    def run(arguments, **more):
        return Step("kafka-configs", arguments, **more)

    yield Step("kafka-topics", f"--create --topic {t} --partitions 1 --config retention.ms=1000000")
    topic = f"--entity-type topics --entity-name {t}"
    yield run(f"{topic} --describe")
    yield run(f"{topic} --describe --all")
    yield run(f"{topic} --alter --add-config retention.ms=77000,cleanup.policy=[compact,delete]")
    yield run(f"{topic} --describe")
    yield run(f"{topic} --alter --add-config max.message.bytes=2000000,segment.ms=60000,flush.messages=5")
    yield run(f"{topic} --describe --all")
    yield run(f"{topic} --alter --delete-config retention.ms,flush.messages")
    yield run(f"{topic} --describe")
    yield run(f"{topic} --alter --delete-config retention.ms")
    yield run(f"{topic} --alter --delete-config no.such.key")
    yield run(f"{topic} --alter --add-config segment.bytes=1048576 --delete-config segment.ms")
    yield run(f"{topic} --alter --add-config-file {{tmp}}/topic.properties", files={"topic.properties": "retention.bytes=123456\n"})
    yield run(f"{topic} --describe")
    yield run("--entity-type topics --describe")
    yield run("--entity-type topics --entity-name none-such --describe")
    yield run("--entity-type topics --entity-name none-such --alter --add-config retention.ms=1")
    yield run("--entity-type topics --entity-default --describe")
    yield run(["--entity-type", "topics", "--entity-name", "bad name", "--describe"])
    yield run(["--topic", t, "--describe"])
    for config in [
        "retention.ms=soon",
        "retention.ms=-2",
        "no.such.key=1",
        "cleanup.policy=never",
        "min.insync.replicas=0",
        "segment.bytes=1",
        "segment.bytes=99999999999",
        "compression.type=brotli",
        "message.format.version=0.9.0",
        "message.timestamp.type=Whatever",
        "remote.storage.enable=true",
        "unclean.leader.election.enable=perhaps",
        "max.compaction.lag.ms=1,min.compaction.lag.ms=2",
        "retention.ms",
        "=5",
        "follower.replication.throttled.replicas=0:0:0",
    ]:
        yield run(f"{topic} --alter --add-config {config}")
    yield run(f"{topic} --alter --add-config retention.ms=")
    yield run(f"{topic} --alter --add-config leader.replication.throttled.replicas=[0:0,1:0]")
    yield run(f"{topic} --alter --add-config leader.replication.throttled.replicas=*")
    yield run(f"{topic} --describe")
    yield run(f"{topic} --alter --delete-config leader.replication.throttled.replicas,retention.bytes,segment.bytes")

    default, one = "--entity-type brokers --entity-default", "--entity-type brokers --entity-name 0"
    yield run(f"{default} --describe")
    yield run(f"{one} --describe")
    yield run(f"{one} --describe --all")
    yield run("--entity-type brokers --describe")
    yield run("--entity-type brokers --describe --all")
    yield run("--broker 0 --describe")
    yield run("--broker-defaults --describe")
    yield run(f"{default} --alter --add-config log.retention.ms=88000000,message.max.bytes=1500000")
    yield run(f"{default} --describe")
    yield run(f"{one} --alter --add-config log.cleaner.threads=2,log.segment.bytes=104857600")
    yield run(f"{one} --describe")
    yield run(f"{one} --describe --all")
    yield run(f"{topic} --describe --all")
    yield run(f"{one} --alter --delete-config log.cleaner.threads,log.segment.bytes")
    yield run(f"{default} --alter --delete-config log.retention.ms,message.max.bytes")
    yield run(f"{one} --alter --delete-config log.cleaner.threads")
    for name in [
        "num.io.threads=4",
        "num.network.threads=4",
        "num.replica.fetchers=2",
        "num.recovery.threads.per.data.dir=3",
        "background.threads=11",
        "log.cleaner.threads=0",
        "log.cleaner.threads=100",
        "log.cleaner.dedupe.buffer.size=134217728",
        "log.cleaner.io.max.bytes.per.second=1000000",
        "log.flush.interval.ms=60000",
        "log.message.timestamp.type=LogAppendTime",
        "log.message.timestamp.type=Never",
        "log.roll.ms=1000000",
        "log.roll.hours=10",
        "log.retention.hours=10",
        "log.retention.minutes=10",
        "log.index.interval.bytes=8192",
        "compression.type=lz4",
        "min.insync.replicas=1",
        "unclean.leader.election.enable=true",
        "max.connections=1000",
        "max.connections.per.ip=1000",
        "max.connections.per.ip.overrides=127.0.0.1:500",
        "max.connection.creation.rate=1000",
        "producer.id.expiration.ms=100000",
        "transaction.partition.verification.enable=false",
        "leader.replication.throttled.rate=1000000",
        "follower.replication.throttled.rate=1000000",
        "replica.alter.log.dirs.io.max.bytes.per.second=1000000",
        "log.dirs=/tmp/elsewhere",
        "broker.id=5",
        "zookeeper.connect=x:1",
        "auto.create.topics.enable=false",
        "no.such.broker.key=1",
        "log.segment.bytes=1",
        "log.retention.ms=soon",
        "listeners=PLAINTEXT://{at}",
        "advertised.listeners=PLAINTEXT://localhost:{port}",
        "metric.reporters=no.such.Reporter",
        "ssl.keystore.location=/nowhere",
        "remote.log.manager.copy.max.bytes.per.second=5",
        "log.cleanup.policy=compact",
        "offsets.retention.minutes=5",
        "group.max.size=5",
        "log.message.format.version=2.0",
        "leader.imbalance.check.interval.seconds=5",
    ]:
        key = name.split("=")[0]
        for whom in [one, default]:
            yield run([*whom.split(), "--alter", "--add-config", name])
            yield run(f"{whom} --describe")
            yield run(f"{whom} --alter --delete-config {key}")
    yield run(f"{one} --describe --all")
    yield run("--entity-type brokers --entity-name 7 --describe", slow=True)
    yield run("--entity-type brokers --entity-name 7 --alter --add-config log.cleaner.threads=2", slow=True)
    yield run("--entity-type brokers --entity-name x --describe")
    # Settled one after the other: one side takes what the other refuses.
    yield run(f"{one} --alter --add-config sasl.enabled.mechanisms=PLAIN")
    yield run(f"{one} --alter --delete-config sasl.enabled.mechanisms")

    loggers = "--entity-type broker-loggers --entity-name 0"
    yield run(f"{loggers} --describe")
    yield run(f"{loggers} --alter --add-config root=WARN")
    yield run(f"{loggers} --alter --add-config root=LOUD")
    yield run(f"{loggers} --alter --add-config no.such.logger.of.ours=WARN")
    yield run(f"{loggers} --alter --delete-config root")
    yield run("--entity-type broker-loggers --describe")
    yield run("--entity-type broker-loggers --entity-name 7 --describe", slow=True)
    yield run("--entity-type broker-loggers --entity-name x --describe")

    for kind in ["users", "clients", "ips"]:
        yield run(f"--entity-type {kind} --describe")
        yield run(f"--entity-type {kind} --entity-default --describe")
        yield run(f"--entity-type {kind} --entity-name 127.0.0.1 --describe")
    yield run("--entity-type users --entity-name alice --entity-type clients --entity-name app --describe")
    yield run("--entity-type users --entity-name alice --alter --add-config no.such.quota=1")
    yield run("--entity-type ips --entity-name nobody.invalid --alter --add-config connection_creation_rate=5")
    yield run("--entity-type ips --entity-name 127.0.0.1 --alter --add-config producer_byte_rate=5")
    yield run("--entity-type client-metrics --describe")
    yield run("--entity-type client-metrics --entity-name m --describe")
    yield run("--entity-type client-metrics --entity-name m --alter --add-config interval.ms=1000")
    yield run("--entity-type groups --describe", only="4.2.0")
    yield run("--entity-type groups --entity-name g --describe", only="4.2.0")
    yield run("--entity-type groups --entity-name g --alter --add-config consumer.session.timeout.ms=50000", only="4.2.0")
    yield run("--entity-type nothings --describe")
