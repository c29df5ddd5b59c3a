"""Steps on the brokers' directories; a restart; the deletion of what was made."""

from .steps import Do, Step, offsets_partition

FIRST = "00000000000000000000"


def dump_log(arguments, **more):
    return Step("kafka-dump-log", arguments, **more)


def dump(v, version):
    """On the directories of running brokers: logs, not the indexes of the active segments."""
    t, g = f"data{v}", f"g{v}"
    # What was appended with the time of the day has its own checksum.
    of_today = [(r"crc: \d+", "crc: <n>"), (r"producerId: \d+", "producerId: <n>")]
    for name in [f"{t}-0", f"{t}-1", f"{t}-2", f"read{v}-0"]:
        yield dump_log(f"--files {{part:{name}}}/{FIRST}.log")
        yield dump_log(f"--files {{part:{name}}}/{FIRST}.log --print-data-log --deep-iteration")
        yield dump_log(f"--files {{part:{name}}}/{FIRST}.log --skip-record-metadata --print-data-log")
    yield dump_log(f"--files {{part:{t}-auto-0}}/{FIRST}.log --print-data-log", masks=of_today)
    yield dump_log(f"--files {{part:{t}-0}}/{FIRST}.log --max-bytes 200")
    yield dump_log(f"--files {{part:{t}-0}}/{FIRST}.log --verify-index-only --index-sanity-check")
    yield dump_log(f"--files {{part:{t}-0}}/none.log")
    yield dump_log(f"--files {{part:{t}-0}}/partition.metadata")
    yield dump_log("")
    for name in [f"{g}-a", f"{g}-b", f"verified{v}"]:
        number = offsets_partition(name)
        path = f"{{part:__consumer_offsets-{number}}}/{FIRST}.log"
        yield dump_log(f"--files {path} --offsets-decoder", masks=of_today)
        yield dump_log(f"--files {path}", masks=of_today)
        for kind in ["Offsets", "GroupMetadata"]:
            formatter = f"org.apache.kafka.tools.consumer.{kind}MessageFormatter"
            reading = f"--topic __consumer_offsets --partition {number} --offset earliest --timeout-ms 1000"
            yield Step("kafka-console-consumer", f"{reading} --formatter {formatter}")


def stop(side):
    side.stopped = True
    side.broker.stop()


def start(side):
    side.broker.start()
    side.stopped = False


def restart(v, version):
    """On the directories of brokers that were stopped cleanly; and what is told after they have read them again."""
    t, g = f"data{v}", f"g{v}"
    yield Do("stop", stop)
    for name in [f"{t}-0", f"{t}-1", f"{t}-2", f"read{v}-0", f"{t}-auto-0"]:
        yield dump_log(f"--files {{part:{name}}}/{FIRST}.index,{{part:{name}}}/{FIRST}.timeindex")
        yield dump_log(f"--files {{part:{name}}}/{FIRST}.index --index-sanity-check")
    yield dump_log(f"--files {{part:{t}-0}}/leader-epoch-checkpoint")
    yield Do("start", start, starts=True)
    yield Step("kafka-consumer-groups", "--list --state")
    for how in ["", "--state", "--members"]:
        yield Step("kafka-consumer-groups", f"--describe --all-groups {how}")
    yield Step("kafka-topics", "--describe")
    yield Step("kafka-configs", "--entity-type topics --describe")
    yield Step("kafka-configs", "--entity-type brokers --entity-name 0 --describe --all")
    yield Step("kafka-get-offsets", "")
    yield Step("kafka-get-offsets", "--time earliest")
    yield Step("kafka-log-dirs", "--describe")


def deletion(v, version):
    yield Step("kafka-topics", f"--delete --topic (t|c|data|read|placed){v}.*")
    yield Step("kafka-topics", "--list")
    yield Step("kafka-consumer-groups", "--describe --all-groups")
    yield Step("kafka-consumer-groups", "--delete --all-groups")
    yield Step("kafka-consumer-groups", "--list")
