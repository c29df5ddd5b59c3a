"""Steps that look at replicas, or move them."""

import json
import os
import time

from .steps import Do, Step, data


def placement(v, version):
    t = f"placed{v}"

    def election(arguments, **more):
        return Step("kafka-leader-election", arguments, **more)

    def reassign(arguments, **more):
        return Step("kafka-reassign-partitions", arguments, **more)

    yield Step("kafka-topics", f"--create --topic {t} --partitions 3 --config retention.ms=-1")
    yield Do(f"fill {t}", lambda side: data(side, t))
    yield Step("kafka-log-dirs", "--describe")
    yield Step("kafka-log-dirs", f"--describe --topic-list {t}")
    yield Step("kafka-log-dirs", f"--describe --topic-list {t},none-such --broker-list 0")
    yield Step("kafka-log-dirs", "--describe --broker-list 0,7")
    yield Step("kafka-log-dirs", "--describe --broker-list x")
    yield Step("kafka-log-dirs", "")
    for kind in ["preferred", "unclean"]:
        yield election(f"--election-type {kind} --all-topic-partitions")
        yield election(f"--election-type {kind} --topic {t} --partition 0")
    yield election(f"--election-type preferred --topic {t} --partition 9")
    yield election("--election-type preferred --topic none-such --partition 0")
    chosen = json.dumps({"partitions": [{"topic": t, "partition": 1}, {"topic": "none-such", "partition": 0}]})
    yield election("--election-type preferred --path-to-json-file {tmp}/elect.json", files={"elect.json": chosen})
    yield election(f"--election-type unclean --topic {t}")
    yield election(f"--election-type best --topic {t} --partition 0")

    move = {"topics.json": json.dumps({"version": 1, "topics": [{"topic": t}]})}
    yield reassign("--list")
    yield reassign("--generate --topics-to-move-json-file {tmp}/topics.json --broker-list 0", files=move)
    yield reassign("--generate --topics-to-move-json-file {tmp}/topics.json --broker-list 0,1", files=move)
    yield reassign("--generate --topics-to-move-json-file {tmp}/topics.json --broker-list 0,0", files=move)
    none = {"topics.json": json.dumps({"version": 1, "topics": [{"topic": "none-such"}]})}
    yield reassign("--generate --topics-to-move-json-file {tmp}/topics.json --broker-list 0", files=none)

    def plan(*partitions):
        rows = []
        for topic, partition, replicas, directories in partitions:
            row = {"topic": topic, "partition": partition, "replicas": replicas}
            if directories:
                row["log_dirs"] = directories
            rows.append(row)
        return {"plan.json": json.dumps({"version": 1, "partitions": rows})}

    with_plan = "--reassignment-json-file {tmp}/plan.json"
    for one in [
        plan((t, 0, [0], None)),
        plan((t, 0, [0], ["any"]), (t, 1, [0], ["any"])),
        plan((t, 0, [1], None)),
        plan((t, 0, [0, 1], None)),
        plan((t, 0, [0, 0], None)),
        plan((t, 0, [], None)),
        plan((t, 9, [0], None)),
        plan(("none-such", 0, [0], None)),
        plan((t, 0, [0], ["/not/a/directory"])),
        plan((t, 0, [0], ["any", "any"])),
        plan((t, 0, [-1], None)),
    ]:
        yield reassign(f"--execute {with_plan}", files=one)
        # It asks brokers that there are none of, to take their throttles away.
        elsewhere = any(f'"replicas": [{who}]' in one["plan.json"] for who in ("1", "0, 1", "-1"))
        yield reassign(f"--verify {with_plan}", files=one, slow=elsewhere, reads=not elsewhere)
    other = plan((t, 0, [0], ["{other:" + f"{t}-0" + "}"]), (t, 1, [0], ["{other:" + f"{t}-1" + "}"]))
    yield reassign(f"--execute {with_plan}", files=other)
    yield Do("let replicas move", lambda side: moved(side, t))
    yield reassign(f"--verify {with_plan}")
    yield reassign("--list")
    yield Step("kafka-log-dirs", f"--describe --topic-list {t}")
    yield reassign(f"--execute {with_plan} --throttle 5000000 --replica-alter-log-dirs-throttle 6000000", files=other)
    yield Step("kafka-configs", "--entity-type brokers --entity-name 0 --describe")
    yield Step("kafka-configs", f"--entity-type topics --entity-name {t} --describe")
    yield Do("let replicas move", lambda side: moved(side, t))
    yield reassign(f"--verify {with_plan}")
    yield Step("kafka-configs", "--entity-type brokers --entity-name 0 --describe")
    yield Step("kafka-configs", f"--entity-type topics --entity-name {t} --describe")
    yield reassign(f"--cancel {with_plan}")
    yield reassign(f"--cancel {with_plan}", files=plan((t, 0, [0], None)))
    yield reassign("--execute --reassignment-json-file {tmp}/none.json")
    yield reassign(f"--execute {with_plan}", files={"plan.json": "no json"})
    yield reassign(f"--execute {with_plan}", files={"plan.json": '{"version": 1, "partitions": []}'})
    yield Step("kafka-get-offsets", f"--topic {t}")
    yield Step("kafka-topics", f"--describe --topic {t}")


def moved(side, topic, seconds=15):
    """Waits until no replica of the topic is on its way between directories; not longer than this."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        names = [n for d in side.broker.log_dirs for n in os.listdir(d)]
        if not any(n.startswith(topic) and n.endswith("-future") for n in names):
            return
        time.sleep(0.05)
