"""Programs of Kafka's, and others of Java, that run beside a scenario: started with their output in files, stopped by
their process id, ended with the script that started them."""

import json
import os
import subprocess
import time

from . import brokers, places

# How long anything may take: no scenario depends on how fast it is.
PATIENCE = 180


def until(condition, what, seconds=PATIENCE, pause=0.02):
    """What the condition is as soon as it is something."""
    deadline = time.time() + seconds
    while True:
        seen = condition()
        if seen:
            return seen
        if time.time() > deadline:
            raise AssertionError(f"not after {seconds} s: {what}")
        time.sleep(pause)


def kafka_class(folder, libraries, name, *arguments, heap="256m"):
    """The command that runs a class of those jars; its log goes to stderr."""
    command = [places.java(), f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    command += [f"-Dlog4j.configuration=file:{brokers.log_settings(folder)}", "-cp", libraries, name]
    return [*command, *map(str, arguments)]


class Program:
    """A process; `out` and `err` are the files with what it printed. It may be started again, and they go on."""

    def __init__(self, command, path, environment=None, folder=None):
        self.command, self.out, self.err = command, path + ".out", path + ".err"
        self.environment, self.folder = environment, folder
        self.start()

    def start(self):
        with open(self.out, "ab") as out, open(self.err, "ab") as err:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(os.environ, **self.environment) if self.environment else None,
                cwd=self.folder,
                preexec_fn=brokers._die_with_parent,
            )
        brokers._RUNNING.append(self.process)
        return self

    def ended(self):
        return self.process.poll() is not None

    def stop(self, seconds=PATIENCE):
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def tail(self, lines=15):
        text = ""
        for path in (self.out, self.err):
            with open(path, errors="replace") as file:
                text += "".join(file.readlines()[-lines:])
        return text


class Events(Program):
    """A program that prints a line of JSON for each thing that happens."""

    def __init__(self, command, path, environment=None):
        self.at, self.seen = 0, []
        super().__init__(command, path, environment)

    def news(self):
        """The events that were printed since it was last asked; a line that is not whole yet is left for the next time."""
        with open(self.out, "rb") as out:
            out.seek(self.at)
            data = out.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.at += len(whole)
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
