"""The driver of kcat: each command is one of its processes or more. See ../README.md."""

import itertools
import json
import queue
import re
import subprocess
import sys
import threading
import time

from harness.driver import Refused, serve, unsupported

# Between records, and between key and value.
END, KEY = b"<end of record>", b"<end of key>"
FORMAT = r"%t %p %o %T %K %S %h\n%k%s\n"
COMMON = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}
PRODUCER = {"message.timeout.ms": 60_000, "retry.backoff.ms": 50, "linger.ms": 0, "enable.idempotence": "false"}
CONSUMER = {
    "enable.auto.commit": "false",
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 50,
    "topic.metadata.refresh.fast.interval.ms": 50,
    # So long a Kafka that starts may know nothing of its topics without that kcat ends.
    "topic.metadata.propagation.max.ms": 120_000,
}
NAMES = {"max.request.size": "message.max.bytes", "metadata.max.age.ms": "topic.metadata.refresh.interval.ms"}
# Kafka's names of what librdkafka says in words.
ERRORS = {
    "Broker: Message size too large": "MESSAGE_TOO_LARGE",
    "Broker: Unknown topic or partition": "UNKNOWN_TOPIC_OR_PARTITION",
}


def refusal(said):
    return next((Refused(name, said) for words, name in ERRORS.items() if words in said), Refused("kcat", said))


def _header(text):
    name, value = text.split(b"=", 1)
    return [name.decode(), value]


class Process:
    """A kcat that consumes. Its records are in `records`; `assigned` are the partitions that it says it has."""

    def __init__(self, command, records):
        self.records, self.assigned = records, []
        self.at_end = threading.Event()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1 << 20
        )
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _read(self):
        source = self.process.stdout
        while line := source.readline():
            topic, partition, offset, timestamp, *lengths, headers = line[:-1].split(b" ", 6)
            key, value = (None if int(length) < 0 else source.read(int(length)) for length in lengths)
            source.read(1)
            self.records.put(
                {
                    "topic": topic.decode(),
                    "partition": int(partition),
                    "offset": int(offset),
                    "timestamp": int(timestamp),
                    "key": key,
                    "value": value,
                    "headers": [_header(one) for one in headers.split(b",")] if headers else [],
                }
            )

    def _listen(self):
        for line in self.process.stderr:
            found = re.search(rb"rebalanced \(memberid [^)]*\): (assigned|revoked): (.*)", line)
            if found:
                pairs = re.findall(r"(\S+) \[(\d+)\]", found[2].decode())
                self.assigned = [[topic, int(n)] for topic, n in pairs] if found[1] == b"assigned" else []
            if b"Reached end of topic" in line:
                self.at_end.set()
            print(line.decode(errors="replace"), end="", file=sys.stderr, flush=True)
        self.at_end.set()  # it has ended

    def end(self):
        self.process.terminate()
        self.process.wait()


class Handle:
    def __init__(self, bootstrap, settings):
        # It gives metadata five seconds, which a busy machine may not have.
        self.command = ["kcat", "-b", bootstrap, "-E", "-m", "60"]
        for key, value in settings.items():
            self.command += ["-X", f"{NAMES.get(key, key)}={value}"]
        self.group = settings.get("group.id")
        self.records, self.processes = queue.Queue(), []

    def asked(self, *arguments, input=b""):
        run = subprocess.run([*self.command, *arguments], input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = run.stderr.decode(errors="replace")
        if run.returncode or "Delivery failed" in said:
            raise refusal(said)
        return run.stdout.decode()


class Driver:
    def __init__(self):
        self.handles = {}

    def hello(self):
        said = subprocess.run(["kcat", "-V"], stdout=subprocess.PIPE, text=True).stdout
        version, library = re.search(r"Version (\S+) \(.*(librdkafka \S+)", said).groups()
        return {"version": version, "library": library}

    def open(self, handle, role, bootstrap, settings):
        own = {"producer": PRODUCER, "consumer": CONSUMER, "admin": {"allow.auto.create.topics": "false"}}[role]
        self.handles[handle] = Handle(bootstrap, {**COMMON, **own, **settings})

    def close(self, handle):
        for process in self.handles.pop(handle).processes:
            process.end()

    def produce(self, handle, topic, records):
        """One kcat for records that follow each other and that one can send."""

        def how(record):
            if "timestamp" in record:
                raise unsupported("timestamps")
            null = any(record.get(name) is None for name in ("key", "value"))
            headers = tuple(tuple(header) for header in record.get("headers", ()))
            return record.get("partition"), headers, null

        answers = []
        for (partition, headers, null), group in itertools.groupby(records, how):
            group = list(group)
            arguments = ["-P", "-t", topic, "-D", END, "-K", KEY] + (["-Z"] if null else [])
            arguments += [] if partition is None else ["-p", str(partition)]
            for name, value in headers:
                arguments += ["-H", name.encode() + b"=" + value]
            lines = [(record.get("key") or b"") + KEY + (record.get("value") or b"") + END for record in group]
            try:
                self.handles[handle].asked(*arguments, input=b"".join(lines))
                answer = {"partition": None, "offset": None}
            except Refused as refused:
                answer = {"error": refused.name, "text": str(refused)}
            answers += [answer] * len(group)
        return {"records": answers}

    def assign(self, handle, topic, partitions):
        reader = self.handles[handle]
        for partition, start in partitions:
            if start not in ("beginning", "end"):
                start = str(start["offset"]) if "offset" in start else f"s@{start['timestamp']}"
            arguments = ["-C", "-u", "-f", FORMAT, "-t", topic, "-p", str(partition), "-o", start]
            reader.processes.append(Process([*reader.command, *arguments], reader.records))
            if start == "end":
                # It says when it is there.
                reader.processes[-1].at_end.wait()

    def subscribe(self, handle, topics=None, pattern=None):
        reader = self.handles[handle]
        arguments = ["-u", "-f", FORMAT, "-G", reader.group, *(topics or [f"^{pattern}$"])]
        reader.processes.append(Process([*reader.command, *arguments], reader.records))

    def poll(self, handle, count, timeout_ms):
        reader, records = self.handles[handle], []
        ended = [process.process.args for process in reader.processes if process.process.poll() is not None]
        if ended:
            raise Refused("ended", f"{ended[0]} has ended by itself")
        deadline = time.monotonic() + timeout_ms / 1000
        while len(records) < count and (left := deadline - time.monotonic()) > 0:
            try:
                records.append(reader.records.get(timeout=left))
            except queue.Empty:
                break
        return {"records": records, "assignment": sum((process.assigned for process in reader.processes), [])}

    def describe_topic(self, handle, topic):
        said = json.loads(self.handles[handle].asked("-L", "-J", "-t", topic))["topics"][0]
        if "error" in said:
            raise refusal(said["error"])

        def ids(rows):
            return [row["id"] for row in rows]

        return {
            "partitions": [
                {"partition": n["partition"], "leader": n["leader"], "replicas": ids(n["replicas"]), "isr": ids(n["isrs"])}
                for n in said["partitions"]
            ]
        }

    def list_offsets(self, handle, topic, partitions, at):
        at = {"latest": -1, "earliest": -2}.get(at, at)
        return {"offsets": [[one, self._offset(self.handles[handle], topic, one, at)] for one in partitions]}

    @staticmethod
    def _offset(handle, topic, partition, at):
        return int(handle.asked("-Q", "-t", f"{topic}:{partition}:{at}").split()[-1])


serve(Driver())
