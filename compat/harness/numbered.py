"""Numbered lines that kcat writes while brokers fail, and what a topic must hold of them afterwards: each one, once."""

import collections
import contextlib
import subprocess
import tempfile
import threading
import time

from . import brokers, places
from .scenario import check, equal


class Lines:
    """kcat, to which numbered lines are given for as long as it lives: idempotent, acks=all, and it ends with an error if
    one of them could not be delivered. A line is padded to `width` characters, and `rate` a second are written."""

    def __init__(self, cluster, topic, rate=500, width=0):
        self.cluster, self.topic = cluster, topic
        self.count, self.rate, self.width, self.ended = 0, rate, width, False
        options = ["acks=all", "enable.idempotence=true", "message.timeout.ms=90000", "linger.ms=5", "retry.backoff.ms=50"]
        options += ["topic.metadata.refresh.interval.ms=1000", "reconnect.backoff.max.ms=500"]
        command = [places.program("kcat"), "-P", "-b", cluster.bootstrap, "-t", topic]
        command += [word for option in options for word in ("-X", option)]
        self.errors = tempfile.TemporaryFile()
        # A scenario that fails leaves it running: it ends with the script.
        end = {"preexec_fn": brokers._die_with_parent}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=self.errors, **end)
        self.thread = threading.Thread(target=self.feed, daemon=True)
        self.thread.start()

    def feed(self):
        try:
            while not self.ended:
                for _ in range(max(1, self.rate // 50)):
                    self.process.stdin.write((b"line %d" % self.count).ljust(self.width) + b"\n")
                    self.count += 1
                self.process.stdin.flush()
                time.sleep(0.02)
        except OSError:
            pass  # it has ended: `finish` says how

    def settle(self):
        """Waits until every line written so far is acknowledged: kcat is connected to all leaders then. It ends when it has
        lost each broker that it knows, though some are back by now and it had no need of them."""
        written = self.count

        def taken():
            return sum(self.cluster.high_watermark(self.topic, one.index) for one in self.cluster.any([self.topic]).partitions)

        self.cluster.wait(f"{written} lines are taken", lambda: taken() >= written)

    def finish(self):
        """The number of lines; all are acknowledged."""
        self.ended = True
        self.thread.join()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        code = self.process.wait(120)
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")
        check(code == 0 and "Delivery failed" not in said, f"kcat ended with {code}: {said[-600:]}")
        return self.count


def consume(bootstrap, topic):
    """All lines of a topic, as kcat reads them from its leaders."""
    command = [places.program("kcat"), "-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e", "-q"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    check(done.returncode == 0, f"kcat -C ended with {done.returncode}: {done.stderr[-400:]}")
    return [line.rstrip() for line in done.stdout.decode().splitlines()]


def check_lines(cluster, topic, count):
    """Each line once."""
    seen = collections.Counter(consume(cluster.bootstrap, topic))
    missing = [number for number in range(count) if f"line {number}" not in seen]
    twice = [line for line, times in seen.items() if times > 1]
    check(not missing, f"{len(missing)} of {count} acknowledged lines are lost: {missing[:10]}\n{cluster.state()}")
    check(not twice, f"{len(twice)} lines are there more than once: {twice[:10]}")
    equal(len(seen), count, "lines")
