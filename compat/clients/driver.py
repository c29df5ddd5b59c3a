"""The runner's side of a driver: its process, and the handles that it holds."""

import base64
import itertools
import json
import os
import subprocess
import threading
import time
from concurrent.futures import Future, TimeoutError

from harness import brokers, programs

# How long a command may take; a driver gives a record up after a minute.
PATIENCE = 90


class Refused(Exception):
    """A command was answered with an error; `name` is Kafka's."""

    def __init__(self, name, text, what):
        super().__init__(f"{what}: {name} {text}")
        self.name = name


def packed(data):
    return None if data is None else base64.b64encode(data).decode()


def unpacked(data):
    return None if data is None else base64.b64decode(data)


class Record:
    """What a consumer was given."""

    def __init__(self, fields):
        self.topic, self.partition, self.offset = fields["topic"], fields["partition"], fields["offset"]
        self.timestamp = fields.get("timestamp")
        self.key, self.value = unpacked(fields.get("key")), unpacked(fields.get("value"))
        self.headers = [(name, unpacked(value)) for name, value in fields.get("headers") or []]

    def __repr__(self):
        return f"{self.topic}-{self.partition}@{self.offset} {self.key} {self.value}"


class Driver:
    """The process. `tell` may be called by several threads at once."""

    def __init__(self, installed, log):
        self.log = log
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                installed.command,
                cwd=installed.folder,
                env={**os.environ, **installed.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                preexec_fn=brokers._die_with_parent,
            )
        brokers._RUNNING.append(self.process)
        self.numbers, self.asked, self.writing = itertools.count(1), {}, threading.Lock()
        self.over = None
        threading.Thread(target=self._read, daemon=True).start()
        self.hello = self.tell("hello")
        if installed.version[0].isdigit() and self.hello["version"] != installed.version:
            raise RuntimeError(f"{installed.client.name} {installed.version} says that it is {self.hello['version']}")

    def _read(self):
        try:
            for line in self.process.stdout:
                answer = json.loads(line)
                self.asked.pop(answer["id"]).set_result(answer)
            self.over = f"the driver ended with {self.process.wait()}: {self.tail()}"
        except Exception as error:
            self.over = f"the driver said {line[:300]}: {type(error).__name__} {error}"
            self.process.kill()
        for future in list(self.asked.values()):
            future.set_exception(RuntimeError(self.over))

    def tell(self, command, **fields):
        number, future = next(self.numbers), Future()
        self.asked[number] = future
        what = " ".join([command, fields.get("handle", ""), fields.get("topic", "")]).strip()
        line = json.dumps({"id": number, "do": command, **fields}) + "\n"
        try:
            with self.writing:
                self.process.stdin.write(line.encode())
                self.process.stdin.flush()
        except OSError:
            self.process.wait()
        if self.over:
            raise RuntimeError(self.over)
        try:
            answer = future.result(PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{what}: no answer after {PATIENCE} s") from None
        if "error" in answer:
            raise Refused(answer["error"], answer.get("text", ""), what)
        return answer["ok"]

    def tail(self, lines=10):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Handle:
    """A producer, consumer or admin client in the driver. Commands that have no method here go by `tell`."""

    def __init__(self, driver, name, role, bootstrap, settings):
        self.driver, self.name = driver, name
        self.is_open = True
        self.settings = {key.replace("_", "."): str(value) for key, value in settings.items()}
        self.tell("open", role=role, bootstrap=bootstrap, settings=self.settings)

    def tell(self, command, **fields):
        return self.driver.tell(command, handle=self.name, **fields)

    def close(self):
        if self.is_open:
            self.is_open = False
            self.tell("close")


class Producer(Handle):
    @property
    def is_idempotent(self):
        return self.settings.get("enable.idempotence") == "true"

    def attempt(self, topic, records):
        """The answers for records, each (key, value) or a dictionary; those that were refused have an error."""
        told = []
        for record in records:
            if isinstance(record, tuple):
                record = {"key": record[0], "value": record[1]}
            one = {**record, "key": packed(record.get("key")), "value": packed(record.get("value"))}
            if "headers" in record:
                one["headers"] = [[name, packed(value)] for name, value in record["headers"]]
            told.append(one)
        answers = self.tell("produce", topic=topic, records=told)["records"]
        if len(answers) != len(told):
            raise AssertionError(f"{len(answers)} answers for {len(told)} records")
        return answers

    def produce(self, topic, records):
        """As `attempt`; none may be refused."""
        answers = self.attempt(topic, records)
        for answer in answers:
            if "error" in answer:
                raise Refused(answer["error"], answer.get("text", ""), f"a record for {topic}")
        return answers


class Consumer(Handle):
    """`assignment` is what it had after the last poll."""

    assignment = frozenset()

    def assign(self, topic, start, partitions=(0,)):
        self.tell("assign", topic=topic, partitions=[[partition, start] for partition in partitions])

    def poll(self, count=1, seconds=0.2):
        """What comes until there are `count` or the time is over."""
        said = self.tell("poll", count=count, timeout_ms=int(seconds * 1000))
        self.assignment = frozenset((topic, partition) for topic, partition in said["assignment"])
        return [Record(fields) for fields in said["records"]]

    def read(self, count):
        """At least so many."""
        records, deadline = [], time.time() + programs.PATIENCE
        while len(records) < count:
            records += self.poll(count - len(records), 5)
            if time.time() > deadline:
                raise AssertionError(f"{count} records expected, and there are {len(records)}: ... {records[-3:]}")
        return records

    def commit(self, offsets, asynchronously=False):
        """`offsets` are {(topic, partition): offset}."""
        listed = [[topic, partition, offset] for (topic, partition), offset in offsets.items()]
        self.tell("commit", offsets=listed, **{"async": asynchronously})
