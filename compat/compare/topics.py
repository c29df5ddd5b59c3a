"""Steps of kafka-topics."""

from .steps import Step, offsets_partition


def topics(v, version):
    t = f"t{v}"

    def run(arguments, **more):
        return Step("kafka-topics", arguments, **more)

    yield run(f"--create --topic {t}-a --partitions 3 --config retention.ms=99000 --config cleanup.policy=compact")
    yield run(f"--create --topic {t}-b --partitions 2 --replication-factor 1")
    yield run(f"--create --topic {t}-assigned --replica-assignment 0,0,0,0")
    yield run(f"--create --topic {t}-plain")
    yield run(f"--create --topic {t}-strict --config min.insync.replicas=2 --partitions 2")
    yield run(f"--create --topic {t}_under --config segment.bytes=1048576")
    yield run(f"--create --topic {t}.under")
    yield run(f"--create --topic {t}-a")
    yield run(f"--create --topic {t}-a --if-not-exists")
    for name in ["bad name", "..", ".", "a/b", "x" * 250, "ok" + "x" * 247, "", "caf\u00e9", "a:b", "tab\there"]:
        yield run(["--create", "--topic", name])
    yield run(["--delete", "--topic", "ok" + "x" * 247])
    yield run(f"--create --topic {t}-c --partitions 0")
    yield run(f"--create --topic {t}-c --partitions -2")
    yield run(f"--create --topic {t}-c --partitions x")
    yield run(f"--create --topic {t}-c --replication-factor 0")
    yield run(f"--create --topic {t}-c --replication-factor 3")
    yield run(f"--create --topic {t}-c --replication-factor 40000")
    # A replica on a broker that is not there; and, created in vain but there, a partition without a leader.
    yield run(f"--create --topic u{v}-under --replica-assignment 0:7,7:0")
    yield run(f"--create --topic u{v}-offline --replica-assignment 7", slow=True)
    yield run(f"--create --topic {t}-c --replica-assignment 0:0")
    yield run(f"--create --topic {t}-c --replica-assignment 0:1,0")
    yield run(f"--create --topic {t}-c --replica-assignment 0,0 --partitions 2")
    for config in [
        "retention.ms=soon",
        "retention.ms=-2",
        "no.such.key=1",
        "cleanup.policy=never",
        "cleanup.policy=",
        "cleanup.policy=delete,compact",
        "min.insync.replicas=0",
        "segment.bytes=1",
        "compression.type=brotli",
        "message.format.version=0.9.0",
        "message.timestamp.type=Whatever",
        "remote.storage.enable=true",
        "preallocate=maybe",
        "retention.ms",
        "max.message.bytes=-1",
        "leader.replication.throttled.replicas=0:0,x",
        "leader.replication.throttled.replicas=*",
        "compression.gzip.level=99",
        "compression.zstd.level=-7",
    ]:
        name = f"{t}-cfg-{abs(offsets_partition(config, 10_000))}"
        yield run(["--create", "--topic", name, "--config", config])
        yield run(["--delete", "--topic", name, "--if-exists"])
    yield run("--create")
    yield run("--list")
    yield run("--list --exclude-internal")
    yield run(f"--list --topic {t}-a")
    yield run(f"--list --topic {t}-[ab]")
    yield run("--list --topic none-such")
    yield run("--describe")
    yield run("--describe --exclude-internal")
    yield run(f"--describe --topic {t}-a")
    yield run(f"--describe --topic {t}-[ab]")
    yield run(f"--describe --topic {t}-assigned")
    yield run("--describe --topic none-such")
    yield run("--describe --topic none-such --if-exists")
    yield run("--describe --topic bad*name")
    yield run(f"--describe --topic-id {{id:{t}-a}}")
    yield run("--describe --topic-id AAAAAAAAAAAAAAAAAAAAAQ")
    yield run("--describe --topic-id not-an-id")
    yield run(f"--describe --topic-id {{id:{t}-a}} --topic {t}-a")
    for filter in [
        "--under-replicated-partitions",
        "--unavailable-partitions",
        "--at-min-isr-partitions",
        "--under-min-isr-partitions",
        "--topics-with-overrides",
    ]:
        yield run(f"--describe {filter}")
        yield run(f"--describe {filter} --topic {t}-[a-s].*")
        yield run(f"--describe {filter} --exclude-internal")
    yield run("--describe --under-replicated-partitions --topics-with-overrides")
    yield run(f"--describe --topic {t}-a --partition-size-limit-per-response 1", only="4.2.0")
    yield run(f"--alter --topic {t}-b --partitions 5")
    yield run(f"--alter --topic {t}-b --partitions 5")
    yield run(f"--alter --topic {t}-b --partitions 3")
    yield run(f"--alter --topic {t}-b --partitions 6 --replica-assignment 0,0,0,0,0,0")
    yield run(f"--alter --topic {t}-b --partitions 8 --replica-assignment 0,0,0,0,0,0,0,7")
    yield run(f"--alter --topic {t}-b --partitions 8 --replica-assignment 0,0,0,0,0,0,0,0:0")
    yield run(f"--alter --topic {t}-b --partitions 8 --replica-assignment 0,0")
    yield run("--alter --topic none-such --partitions 3")
    yield run("--alter --topic none-such --partitions 3 --if-exists")
    yield run(f"--alter --topic {t}-b --partitions 0")
    yield run(f"--alter --topic {t}-(plain|assigned) --partitions 6")
    yield run(f"--describe --topic {t}-.*")
    yield run(f"--delete --topic {t}-assigned")
    yield run("--delete --topic none-such")
    yield run("--delete --topic none-such --if-exists")
    yield run(f"--delete --topic {t}.under")
    yield run("--list")
