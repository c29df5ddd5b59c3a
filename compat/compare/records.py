"""Steps that read and write records, or ask where they are."""

import json
import time

from harness import wire

from .steps import BASE, Do, Step, data


def empty(side, group, seconds=20):
    """Waits until a group has no members; not longer than this."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        with side.broker.connect() as client:
            reader = client.call(15, 0, b"\0\0\0\1" + wire.string(group))
        reader.i32(), reader.i16(), reader.string()
        if reader.string() == "Empty":
            return
        time.sleep(0.2)


def records(v, version):
    t = f"data{v}"

    def offsets(arguments, **more):
        return Step("kafka-get-offsets", arguments, **more)

    def delete(content, **more):
        text = content if isinstance(content, str) else json.dumps(content)
        files = {"delete.json": text, "client.properties": "default.api.timeout.ms=3000\n"}
        arguments = "--offset-json-file {tmp}/delete.json --command-config {tmp}/client.properties"
        return Step("kafka-delete-records", arguments, files=files, **more)

    yield Step("kafka-topics", f"--create --topic {t} --partitions 3 --config retention.ms=-1")
    yield Do(f"fill {t}", lambda side: data(side, t))
    for when in ["-1", "-2", "-3", "-4", "-5", "-6", "latest", "earliest", "max-timestamp", "earliest-local", "latest-tiered"]:
        yield offsets(f"--topic {t} --time {when}")
    for when in [0, BASE - 1, BASE + 61_500, BASE + 200_000, BASE + 86_400_000]:
        yield offsets(f"--topic {t} --time {when}")
    yield offsets(f"--topic {t} --time soon")
    yield offsets("")
    yield offsets("--exclude-internal-topics")
    yield offsets(f"--topic {t} --partitions 0,2")
    yield offsets(f"--topic {t} --partitions 9")
    yield offsets(f"--topic {t} --partitions x")
    yield offsets(f"--topic-partitions {t}:0,{t}:2")
    yield offsets(f"--topic-partitions {t}:1-3")
    yield offsets(f"--topic-partitions {t}:-1")
    yield offsets("--topic-partitions data.*:0-2")
    yield offsets("--topic-partitions none-such:0")
    yield offsets("--topic none-such")
    yield offsets(f"--topic {t} --topic-partitions {t}:0")

    yield Step("kafka-console-producer", f"--topic {t}", input=b"", reads=True)
    yield Step("kafka-console-producer", "--topic none-such --producer-property max.block.ms=500 --max-block-ms 500", input=b"", reads=True)
    yield Step(
        "kafka-console-producer",
        f"--topic {t}-auto --property parse.key=true --property parse.headers=true --sync",
        input=b"h1:a,h2:b\tkey\tvalue\nh:1\tk2\tv2\n",
    )
    yield Step("kafka-topics", f"--describe --topic {t}-auto")
    yield Step(
        "kafka-console-producer",
        f"--topic {t}-b --request-required-acks 1 --request-timeout-ms 30000 --compression-codec zstd",
        input=b"".join(b"line %d\n" % n for n in range(50)),
    )
    yield Step("kafka-console-producer", f"--topic {t}-b", input=b"x" * 1_100_000 + b"\n")
    yield Step(
        "kafka-console-producer",
        f"--topic {t}-b --producer-property max.request.size=3000000 --producer-property buffer.memory=8000000 --sync",
        input=b"y" * 2_000_000 + b"\n",
    )
    yield Step("kafka-console-producer", ["--topic", "bad name", "--max-block-ms", "3000"], input=b"x\n")
    print_all = "--property print.key=true --property print.headers=true --property print.offset=true"
    print_all += " --property print.partition=true --property print.timestamp=true"
    limit = "--timeout-ms 20000"
    yield Step("kafka-console-consumer", f"--topic {t} --partition 0 --offset 7 --max-messages 30 {print_all} {limit}")
    yield Step("kafka-console-consumer", f"--topic {t} --partition 1 --offset earliest --max-messages 20 {print_all} {limit}")
    yield Step("kafka-console-consumer", f"--topic {t}-auto --from-beginning --max-messages 2 {limit} --property print.headers=true --group console-{v}")
    yield Step("kafka-console-consumer", f"--topic {t} --partition 9 --offset 0 --max-messages 1 --timeout-ms 3000", slow=True)
    yield Step("kafka-console-consumer", f"--topic {t} --partition 0 --offset 1000 --timeout-ms 2000")
    yield Step("kafka-console-consumer", ["--topic", "bad name", "--timeout-ms", "3000"])

    yield Step("kafka-verifiable-producer", f"--topic {t}-v --max-messages 20")
    yield Step("kafka-verifiable-producer", f"--topic {t}-v --max-messages 20 --acks 1 --value-prefix 7 --message-create-time {BASE}")
    yield Step("kafka-verifiable-producer", ["--topic", "bad name", "--max-messages", "2"])
    yield Step("kafka-verifiable-consumer", f"--topic {t}-v --group-id verified{v} --max-messages 40 --reset-policy earliest")
    yield Step("kafka-verifiable-consumer", f"--topic {t}-v --group-id verified{v}i --group-instance-id i --max-messages 40 --reset-policy earliest --enable-autocommit --session-timeout 6000")
    yield Do("let the static member, which does not leave, be missed", lambda side: empty(side, f"verified{v}i"))
    yield Step("kafka-consumer-groups", f"--describe --group verified{v}")
    yield Step(
        "kafka-producer-perf-test",
        f"--topic {t}-b --num-records 3 --record-size 1100000 --throughput -1 --producer-props bootstrap.servers={{at}}",
    )
    yield Step(
        "kafka-producer-perf-test",
        ["--topic", "bad name", "--num-records", "2", "--record-size", "10", "--throughput", "-1", "--producer-props", "bootstrap.servers={at}", "max.block.ms=3000"],
    )
    yield Step(
        "kafka-replica-verification",
        f"--topics-include {t} --report-interval-ms 500",
        name=f"verification-{v}",
        lines=2,
    )
    yield Step("kafka-replica-verification", "", stop=f"verification-{v}")
    yield Step("kafka-replica-verification", "--topics-include none-such")

    def asked(*partitions):
        return {"version": 1, "partitions": [{"topic": n, "partition": p, "offset": o} for n, p, o in partitions]}

    yield delete(asked((t, 0, 13), (t, 1, -1), (t, 2, 0)))
    yield offsets(f"--topic {t} --time earliest")
    yield delete(asked((t, 0, 13)))
    yield delete(asked((t, 0, 5)))
    yield delete(asked((t, 0, 1000)))
    yield delete(asked((t, 0, -2)))
    yield delete(asked((t, 9, 1)))
    yield delete(asked(("none-such", 0, 1)))
    yield delete(asked((t, 0, 14), (t, 0, 15)))
    yield delete({"version": 2, "partitions": []})
    yield delete({"version": 1})
    yield delete("no json")
    yield Step("kafka-console-consumer", f"--topic {t} --partition 0 --offset earliest --max-messages 5 {print_all} {limit}")
    yield Step("kafka-topics", f"--create --topic {t}-compact --config cleanup.policy=compact")
    yield delete(asked((f"{t}-compact", 0, 0)))
