"""Steps of the whole cluster; what is refused without security and KRaft; transactions."""

from harness import wire

from .steps import BASE, Do, Step


def cluster(v, version):
    yield Step("kafka-broker-api-versions", "", reads=True)
    yield Step("kafka-cluster", "cluster-id", reads=True)
    yield Step("kafka-cluster", "unregister --id 0")
    yield Step("kafka-cluster", "unregister --id 7")
    yield Step("kafka-cluster", "list-endpoints", reads=True, only="4.2.0")
    yield Step("kafka-cluster", "list-endpoints --include-fenced-brokers", reads=True, only="4.2.0")
    yield Step("kafka-features", "describe")
    yield Step("kafka-features", "upgrade --metadata 3.9")
    yield Step("kafka-features", "upgrade --release-version 3.9")
    yield Step("kafka-features", "upgrade --feature group.version=1")
    yield Step("kafka-features", "downgrade --feature kraft.version=0")
    yield Step("kafka-features", "disable --feature group.version")
    yield Step("kafka-features", "version-mapping", bootstrap=True)


def refused(v, version):
    for how in ["describe --status", "describe --replication", "describe --replication --human-readable", "remove-controller --controller-id 1 --controller-directory-id AAAAAAAAAAAAAAAAAAAAAQ"]:
        yield Step("kafka-metadata-quorum", how)
    for how in [
        "--list",
        "--list --topic x",
        "--add --allow-principal User:alice --operation Read --topic x --force",
        "--remove --allow-principal User:alice --operation Read --topic x --force",
        "--add --allow-principal User:alice --producer --topic x --force",
        "--add",
    ]:
        yield Step("kafka-acls", how)
    for how in [
        "--create --max-life-time-period -1",
        "--create --max-life-time-period -1 --renewer-principal User:bob",
        "--describe",
        "--describe --owner-principal User:alice",
        "--renew --renew-time-period -1 --hmac QUJD",
        "--expire --expiry-time-period -1 --hmac QUJD",
    ]:
        yield Step("kafka-delegation-tokens", how + " --command-config {tmp}/client.properties", files={"client.properties": "client.id=tokens\n"})
    for how in ["--list", "--describe", "--describe --name m", "--alter --name m --interval 1000", "--alter --generate-name --interval 100 --metrics org", "--delete --name m"]:
        yield Step("kafka-client-metrics", how)


def transactions(v, version):
    """Last of all, since Kafka makes the coordinator's topic when somebody asks for one."""
    t = f"x{v}"

    def run(arguments, **more):
        return Step("kafka-transactions", arguments, **more)

    yield Step("kafka-topics", f"--create --topic {t} --partitions 2 --config retention.ms=-1")
    yield Do(f"an idempotent producer writes to {t}", lambda side: idempotent(side, t))
    yield run(f"describe-producers --topic {t} --partition 0")
    yield run(f"describe-producers --topic {t} --partition 1")
    yield run(f"describe-producers --topic {t} --partition 0 --broker-id 0")
    yield run(f"describe-producers --topic {t} --partition 9", slow=True)
    yield run("describe-producers --topic none-such --partition 0", slow=True)
    yield run("find-hanging --broker-id 0")
    yield run("find-hanging --broker-id 7", slow=True)
    yield run(f"find-hanging --topic {t}")
    yield run(f"find-hanging --topic {t} --partition 0")
    yield run(f"abort --topic {t} --partition 0 --start-offset 0")
    yield run("list")
    yield run("list --duration-filter 5")
    yield run("list --transactional-id-pattern a.*", only="4.2.0")
    yield run("describe --transactional-id none-such", slow=True)
    yield run("forceTerminateTransaction --transactional-id none-such", only="4.2.0", slow=True)
    yield run(f"abort --topic {t} --partition 0 --producer-id 1 --producer-epoch 0 --coordinator-epoch 0")


def idempotent(side, topic):
    with side.broker.connect() as client:
        client.produce(topic, wire.batch([(None, b"a"), (None, b"b")], producer=(4242, 3, 0), timestamps=[BASE, BASE]), 1)
