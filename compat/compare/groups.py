"""Steps of groups and their offsets."""

import datetime
import time

from .steps import BASE, Do, Step, data


def groups(v, version):
    t, g = f"read{v}", f"g{v}"

    def run(arguments, **more):
        return Step("kafka-consumer-groups", arguments, **more)

    yield Step("kafka-topics", f"--create --topic {t} --partitions 3 --config retention.ms=-1")
    yield Do(f"fill {t}", lambda side: data(side, t))
    limit = "--timeout-ms 20000"
    for name in ["a", "b", "c"]:
        yield Step("kafka-console-consumer", f"--topic {t} --from-beginning --group {g}-{name} --max-messages 70 {limit} --property print.value=false")
    yield run("--list")
    for state in ["", "Stable", "Empty", "empty,stable", "Dead", "PreparingRebalance", "Assigning", "Bad"]:
        yield run(f"--list --state {state}")
    for kind in ["", "classic", "consumer", "Classic,Consumer", "share", "Bad"]:
        yield run(f"--list --type {kind}")
    yield run("--list --state Empty --type classic")
    yield run("--list --state --type")
    for one in [f"{g}-a", "none-such", ""]:
        for how in ["", "--offsets", "--members", "--members --verbose", "--state", "--offsets --verbose", "--state --verbose"]:
            yield run(["--describe", "--group", one, *how.split()])
    yield run(f"--describe --group {g}-a --group {g}-b --state")
    for how in ["", "--state", "--members"]:
        yield run(f"--describe --all-groups {how}")
    yield run("--describe")

    live = f"{g}-living"
    # The members are named by their client ids, so that both sides order them alike.
    option = "--consumer-property" if version == "3.9.2" else "--command-property"
    yield Step(
        "kafka-console-consumer",
        f"--topic {t} --from-beginning --group {live} {option} client.id=first {option} auto.commit.interval.ms=100",
        name=live,
        lines=70,
    )
    for how in ["", "--offsets", "--members", "--members --verbose", "--state", "--state --verbose", "--offsets --verbose"]:
        yield run(f"--describe --group {live} {how}")
    yield run("--list --state")
    yield run("--list --state stable")
    yield run(f"--reset-offsets --group {live} --to-earliest --topic {t} --dry-run")
    yield run(f"--reset-offsets --group {live} --to-earliest --topic {t} --execute")
    yield run(f"--delete --group {live}")
    yield run(f"--delete-offsets --group {live} --topic {t}")
    yield run(f"--delete-offsets --group {live} --topic {t}:0")
    yield Step("kafka-streams-application-reset", f"--application-id {live} --input-topics {t} --dry-run")
    yield Step("kafka-console-consumer", "", stop=live)
    yield run(f"--describe --group {live}")
    yield run(f"--describe --group {live} --members")
    yield run(f"--describe --group {live} --state")

    a = f"--reset-offsets --group {g}-a"
    stamp = datetime.datetime.fromtimestamp((BASE + 61_500) / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    since = f"PT{(int(time.time() * 1000) - BASE - 61_500) // 1000}S"
    modes = [
        "--to-earliest",
        "--to-latest",
        "--to-offset 17",
        "--to-offset 1000",
        "--to-offset -5",
        "--to-offset x",
        "--shift-by 5",
        "--shift-by -7",
        "--shift-by -1000",
        "--shift-by x",
        f"--to-datetime {stamp}",
        f"--to-datetime {stamp}Z",
        f"--to-datetime {stamp}+02:00",
        "--to-datetime tomorrow",
        f"--by-duration {since}",
        "--by-duration P30D",
        "--by-duration soon",
        "--to-current",
    ]
    for mode in modes:
        yield run(f"{a} --topic {t} {mode} --dry-run", reads=True)
    yield run(f"{a} --topic {t}:0,1 --to-offset 3", reads=True)
    yield run(f"{a} --all-topics --to-earliest --dry-run --export", reads=True)
    yield run(f"{a} --topic {t}:0 --topic {t}:2 --shift-by 1 --dry-run", reads=True)
    yield run(f"{a} --topic {t}:7 --to-earliest --dry-run", reads=True)
    yield run(f"{a} --topic {t}:x --to-earliest --dry-run", reads=True)
    yield run(f"{a} --topic none-such --to-earliest --dry-run", reads=True)
    yield run(f"{a} --to-earliest --dry-run", reads=True)
    yield run(f"{a} --topic {t}", reads=True)
    yield run(f"{a} --topic {t} --to-earliest --to-latest", reads=True)
    yield run(f"{a} --topic {t} --to-earliest --dry-run --execute", reads=True)
    yield run(f"--reset-offsets --topic {t} --to-earliest --dry-run", reads=True)
    yield run(f"--reset-offsets --all-groups --topic {t} --to-earliest --dry-run", reads=True)
    yield run(f"--reset-offsets --all-groups --all-topics --to-latest --dry-run --export", reads=True)
    yield run(f"--reset-offsets --group {g}-new --topic {t} --to-offset 3 --execute")
    yield run(f"--describe --group {g}-new")
    yield run(f"--describe --group {g}-new --state")
    for mode in ["--to-earliest", "--to-offset 12", "--shift-by 3", f"--to-datetime {stamp}Z", f"--by-duration {since}", "--to-current", "--to-latest"]:
        yield run(f"{a} --topic {t} {mode} --execute")
        yield run(f"--describe --group {g}-a")
    csv = f"{t},0,11\n{t},1,5\n"
    yield run(f"{a} --from-file {{tmp}}/offsets.csv --dry-run", files={"offsets.csv": csv}, reads=True)
    yield run(f"{a} --from-file {{tmp}}/offsets.csv --execute", files={"offsets.csv": csv})
    yield run(f"{a} --from-file {{tmp}}/offsets.csv --execute", files={"offsets.csv": f"{g}-a,{t},2,0\n"})
    yield run(f"{a} --from-file {{tmp}}/offsets.csv --execute", files={"offsets.csv": "nonsense\n"})
    yield run(f"{a} --from-file {{tmp}}/none.csv --execute")
    both = f"{g}-a,{t},0,1\n{g}-b,{t},1,2\n"
    yield run(f"{a} --group {g}-b --from-file {{tmp}}/offsets.csv --execute", files={"offsets.csv": both})
    yield run(f"--describe --group {g}-a --group {g}-b")
    yield run(f"{a} --topic {t} --to-offset 4 --execute --export")

    yield run(f"--delete-offsets --group {g}-b --topic {t}:1")
    yield run(f"--describe --group {g}-b")
    yield run(f"--delete-offsets --group {g}-b --topic {t}:1")
    yield run(f"--delete-offsets --group {g}-b --topic {t}:9")
    yield run(f"--delete-offsets --group {g}-b --topic {t}")
    yield run(f"--delete-offsets --group {g}-b --topic none-such")
    yield run(f"--delete-offsets --group none-such --topic {t}")
    yield run(f"--delete-offsets --group {g}-b")
    yield run(f"--describe --group {g}-b")
    yield run(f"--delete --group {g}-new")
    yield run(f"--delete --group {g}-new")
    yield run("--delete --group none-such")
    yield run(f"--delete --group {g}-c --group none-such")
    yield run("--delete")
    yield run("--list")

    def reset(arguments, **more):
        return Step("kafka-streams-application-reset", arguments, **more)

    yield Step("kafka-topics", f"--create --topic {g}-a-store-changelog --partitions 3")
    yield Step("kafka-topics", f"--create --topic {g}-a-by-repartition --partitions 3")
    yield reset(f"--application-id {g}-a --input-topics {t} --dry-run", reads=True)
    yield reset(f"--application-id {g}-a --input-topics {t} --intermediate-topics {t}-none --dry-run", reads=True)
    for mode in ["--to-offset 3", "--to-latest", "--shift-by 2", f"--to-datetime {stamp}", f"--by-duration {since}"]:
        yield reset(f"--application-id {g}-a --input-topics {t} {mode} --dry-run", reads=True)
    yield reset(f"--application-id {g}-a --input-topics {t} --internal-topics {g}-a-store-changelog --to-offset 9")
    yield run(f"--describe --group {g}-a")
    yield Step("kafka-topics", f"--list --topic {g}-a.*")
    yield reset("--application-id none-such")
    yield reset("")
    for tool in ["kafka-groups", "kafka-share-groups", "kafka-streams-groups"]:
        yield Step(tool, "--list", only="4.2.0")
        yield Step(tool, "--describe --all-groups", only="4.2.0")
    for kind in ["classic", "consumer", "share", "streams", "bad"]:
        yield Step("kafka-groups", f"--list --group-type {kind}", only="4.2.0")
    yield Step("kafka-groups", "--list --protocol consumer", only="4.2.0")
    yield Step("kafka-groups", "--list --consumer", only="4.2.0")
    yield Step("kafka-groups", "--list --share", only="4.2.0")
