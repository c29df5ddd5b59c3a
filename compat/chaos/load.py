"""Producers and consumers of numbered values, in client libraries of several languages, by the drivers of compat/clients."""

import json
import os
import random
import re
import threading
import time

from clients import driver, folders

from .checker import Member, value

TOPIC = "chaos"
# A command ends when all faults are over, at the latest.
driver.PATIENCE = 600
# A producer that gives a record up goes on with a new epoch, and may send again what is in the log already: none does. What
# has no answer is sent again soon, so that the same batch is on its way twice.
PATIENT = {
    "kafka-java": {"delivery.timeout.ms": 600_000, "request.timeout.ms": 5000, "retries": 2_000_000_000},
    "confluent-kafka": {"message.timeout.ms": 600_000, "socket.timeout.ms": 5000},
    "franz-go": {},
}
PRODUCERS, MEMBERS = 2, 2  # of each client
RECORDS = 60  # of one command, at most
SECONDS_AFTER = 60  # after which a producer is taken for broken, when nothing else is any more


def installed(names):
    """{name: client, ready to run} of names like `franz-go` or `kafka-java:3.9.2`."""
    known, found = folders.clients(), {}
    for name in names:
        name, _, version = name.partition(":")
        found[name] = known[name].installed(version or known[name].versions[0])
    return found


class Load:
    """All of them: threads that tell a checker, and a file, what they see."""

    def __init__(self, clients, bootstrap, partitions, racks, checker, folder, seed):
        self.racks = racks
        self.bootstrap, self.partitions, self.checker, self.folder = bootstrap, partitions, checker, folder
        self.history = open(os.path.join(folder, "history"), "w", buffering=1)
        self.writing = threading.Lock()
        self.began = time.monotonic()
        self.over = threading.Event()  # producers stop
        self.ended = threading.Event()  # consumers stop
        self.drivers, self.producers, self.consumers = [], [], []
        self.failures = []
        for name, client in clients.items():
            log = os.path.join(folder, name + ".log")
            for role, count in (("producer", PRODUCERS), ("consumer", MEMBERS)):
                # A process each, so that they have connections, and links, of their own.
                one = driver.Driver(client, log)
                self.drivers.append(one)
                for number in range(count):
                    dice = random.Random(f"{seed} {name} {role} {number}")
                    if role == "producer":
                        self.producers.append(Producer(self, one, name, len(self.producers) + 1, dice))
                    else:
                        self.consumers.append(Consumer(self, one, name, number, dice))

    def start(self):
        for one in self.producers + self.consumers:
            one.thread.start()

    def note(self, **what):
        with self.writing:
            self.history.write(json.dumps({"at": round(time.monotonic() - self.began, 3), **what}) + "\n")

    def name(self, partition):
        return f"{TOPIC}-{partition}"

    def has_begun(self):
        read = {group for group, _ in list(self.checker.read)}
        return bool(self.failures) or all(one.acknowledged for one in self.producers) and read.issuperset(self.groups())

    def groups(self):
        return sorted({one.group for one in self.consumers})

    def finish_producers(self, seconds):
        """Those that have no answer after that time."""
        self.over.set()
        return _unfinished(self.producers, seconds)

    def finish_consumers(self, seconds):
        self.ended.set()
        return _unfinished(self.consumers, seconds)

    def end(self):
        for one in self.drivers:
            one.end()
        with self.writing:
            self.history.flush()


def _unfinished(ones, seconds):
    deadline = time.monotonic() + seconds
    for one in ones:
        one.thread.join(max(0, deadline - time.monotonic()))
    return [one.name for one in ones if one.thread.is_alive()]


def error_name(answer):
    """Kafka's name, also where a driver has only the client's type of it and Kafka's name in its text."""
    return answer["error"] if answer["error"].isidentifier() else answer.get("text", answer["error"]).split(":")[0][:60]


class Worker:
    def __init__(self, load, process, client, name, dice):
        self.load, self.process, self.name, self.dice = load, process, name, dice
        self.client = client
        self.thread = threading.Thread(target=self.guarded, daemon=True)

    def guarded(self):
        try:
            self.work()
        except Exception as error:  # The main thread tells.
            self.load.failures.append(f"{self.name}: {type(error).__name__}: {error}")


class Producer(Worker):
    def __init__(self, load, process, client, number, dice):
        super().__init__(load, process, client, f"{client}-producer-{number}", dice)
        self.number, self.next, self.acknowledged = number, 0, 0

    def work(self):
        handle = self.open()
        while not self.load.over.is_set():
            self.send(handle, self.dice.randrange(1, RECORDS))
            self.load.over.wait(self.dice.random() * 0.2)
        # What comes after all faults is taken, by a client that went through them: it is told by its answer.
        deadline = time.monotonic() + SECONDS_AFTER
        while errors := [answer["error"] for answer in self.send(handle, 5) if "error" in answer]:
            if time.monotonic() > deadline:
                raise AssertionError(f"refused {SECONDS_AFTER} s after the last fault: {errors}")
            time.sleep(0.2)
        handle.close()

    def open(self):
        settings = {"enable.idempotence": "true", "acks": "all", "compression.type": self.dice.choice(["none", "none", "gzip"])}
        settings.update(PATIENT.get(self.client, {}))
        return driver.Producer(self.process, self.name, "producer", self.load.bootstrap, settings)

    def send(self, handle, count):
        load, checker = self.load, self.load.checker
        numbers = range(self.next, self.next + count)
        self.next += count
        places = [self.dice.randrange(load.partitions) for _ in numbers]
        for number, partition in zip(numbers, places):
            checker.sending(self.number, number, load.name(partition))
        load.note(producer=self.number, sends=numbers[0], to=places)
        records = [{"partition": p, "value": value(self.number, n)} for n, p in zip(numbers, places)]
        try:
            answers = handle.attempt(TOPIC, records)
        except driver.Refused as error:
            # The client takes none any more; it may have sent some.
            answers = [{"error": error.name}] * count
            load.over.wait(0.2)
        for number, answer in zip(numbers, answers):
            if "error" not in answer:
                self.acknowledged += 1
                checker.was_acknowledged(self.number, number, load.name(answer["partition"]), answer.get("offset"))
            else:
                checker.was_refused(f"{self.client} {error_name(answer)}")
        told = [answer.get("offset", answer.get("error")) for answer in answers]
        load.note(producer=self.number, sent=numbers[0], answers=told)
        return answers


class Consumer(Worker):
    """A member of its client's group. It leaves now and then, and comes back."""

    def __init__(self, load, process, client, number, dice):
        super().__init__(load, process, client, f"{client}-member-{number}", dice)
        self.number, self.group, self.opened = number, f"readers-{client}", 0
        self.rebalances = 0

    def work(self):
        while not self.load.ended.is_set():
            handle = self.open()
            stays = time.monotonic() + self.dice.uniform(15, 60)
            while not self.load.ended.is_set() and time.monotonic() < stays:
                self.read(handle)
            self.rebalances += self.member.rebalances
            try:
                handle.close()
            except driver.Refused as error:
                self.load.note(member=handle.name, closed=str(error))
            # The last one that is there does not go before all is read.
            self.load.ended.wait(self.dice.random() * 5)

    def open(self):
        self.opened += 1
        settings = {
            "group.id": self.group,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 1000,
            "metadata.max.age.ms": 5000,
            # One of the brokers', or another.
            "client.rack": f"rack-{self.dice.randint(1, self.load.racks + 1)}",
            "isolation.level": "read_committed" if self.number % 2 else "read_uncommitted",
        }
        name = f"{self.name}-{self.opened}"
        handle = driver.Consumer(self.process, name, "consumer", self.load.bootstrap, settings)
        handle.tell("subscribe", topics=[TOPIC])
        self.member = Member(name, self.group)
        return handle

    def read(self, handle):
        load, checker, member = self.load, self.load.checker, self.member
        began = time.monotonic()
        said = handle.tell("poll", count=500, timeout_ms=500)
        records = [driver.Record(fields) for fields in said["records"]]
        before = member.rebalances
        checker.polled(member, [(load.name(r.partition), r.offset, r.value) for r in records], said["rebalances"], began)
        spans = {}
        for record in records:
            spans.setdefault(record.partition, []).append(record.offset)
        if records or before != member.rebalances:
            told = {partition: [offsets[0], offsets[-1], len(offsets)] for partition, offsets in spans.items()}
            load.note(member=handle.name, read=told, rebalances=member.rebalances, has=[p for _, p in said["assignment"]])
        # Of what came in the same poll before its partition went nothing may be said any more.
        if records and before == member.rebalances and self.dice.random() < 0.8:
            self.commit(handle, {load.name(partition): offsets[-1] + 1 for partition, offsets in spans.items()})

    def commit(self, handle, offsets):
        checker, began = self.load.checker, time.monotonic()
        checker.committing(self.group, offsets)
        outcome = "acknowledged"
        try:
            handle.commit({(TOPIC, int(name.rsplit("-", 1)[1])): offset for name, offset in offsets.items()})
            now = time.monotonic()
            checker.was_committed(self.group, offsets, now - began, now)
        except driver.Refused as error:
            outcome = error.name
            if not outcome.isidentifier():
                outcome = " ".join(sorted(set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", str(error))))) or outcome
            checker.was_not_committed(self.group, offsets, f"{self.client} {outcome}")
        self.load.note(member=handle.name, commits=offsets, took=round(time.monotonic() - began, 3), outcome=outcome)


