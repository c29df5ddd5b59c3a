"""Kafka's tools of one version, all run by one Java process (ToolServer.java): a tool takes some ten milliseconds instead
of the second or two that a process of its own takes, and it prints and ends as it does there."""

import os
import struct
import subprocess
import threading

from . import brokers, java, places

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ToolServer.java")
TOO_LONG = -1000


class Gone(Exception):
    """A tool has ended the process by System.exit, past Kafka's Exit: its parser of arguments does, where they are wrong."""


class Running:
    """A tool that was started. `code`, `output` and `errors` are there once it has ended."""

    def __init__(self, server, number):
        self.server, self.number = server, number
        self.ended, self.told = threading.Event(), threading.Event()
        self.code, self.output, self.errors, self.so_far = None, "", "", ""

    def wait(self):
        self.ended.wait()
        if self.code is None:
            raise Gone
        return self

    def stop(self):
        """As SIGTERM does: its shutdown hooks run."""
        self.server._send(self.number, b"s")
        return self

    def printed(self):
        if self.ended.is_set():
            return self.output
        self.told.clear()
        self.server._send(self.number, b"p")
        while not self.told.wait(1):
            if self.ended.is_set():
                return self.output
        return self.so_far


class ToolServer:
    def __init__(self, version, folder):
        self._begin(version, folder)

    def again(self):
        """Another process, when the one there was is gone."""
        self.close()
        self._begin(self.version, self.folder)

    def alone(self, name, arguments, input, seconds):
        """The same by a process of its own."""
        run = brokers.tool(self.version, name, *arguments, input=input, timeout=seconds, check=False)
        run.code, run.output = run.returncode, run.text
        return run

    def _begin(self, version, folder):
        self.version, self.folder = version, folder
        self.log = os.path.join(folder, f"tools-{version}.log")
        settings = os.path.join(folder, "tools-log4j.properties")
        with open(settings, "w") as out:
            out.write(
                "log4j.rootLogger=ERROR, stderr\nlog4j.appender.stderr=org.apache.log4j.ConsoleAppender\n"
                "log4j.appender.stderr.layout=org.apache.log4j.PatternLayout\n"
                "log4j.appender.stderr.layout.ConversionPattern=[%d] %p %m (%c)%n\n"
                "log4j.appender.stderr.Target=System.err\n"
            )
        classes = java.compiled(SOURCE, "3.9.2") + ":"
        # 4.2 comes without anything that takes its log lines.
        classes += java.libraries(version) if version != "3.9.2" else places.jars(version) + "/*"
        command = [places.java(), "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        # For its table of shutdown hooks.
        command += ["--add-opens", "java.base/java.lang=ALL-UNNAMED"]
        command += [f"-Dlog4j.configuration=file:{settings}", "-cp", classes, "ToolServer"]
        with open(self.log, "ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                preexec_fn=brokers._die_with_parent,
            )
        brokers._RUNNING.append(self.process)
        self.lock, self.runs, self.count = threading.Lock(), {}, 0
        threading.Thread(target=self._read, args=[self.process.stdout], daemon=True).start()

    def start(self, name, arguments, input=b"", seconds=60):
        def text(value):
            data = str(value).encode()
            return struct.pack(">i", len(data)) + data

        with self.lock:
            self.count += 1
            run = self.runs[self.count] = Running(self, self.count)
        body = text(name) + struct.pack(">ii", int(seconds * 1000), len(arguments))
        body += b"".join(map(text, arguments)) + struct.pack(">i", len(input)) + input
        self._send(run.number, b"r" + body)
        return run

    def close(self):
        self.process.kill()
        self.process.wait()

    def _send(self, number, body):
        with self.lock:
            try:
                self.process.stdin.write(struct.pack(">i", number) + body)
                self.process.stdin.flush()
            except OSError:
                self.runs[number].told.set()
                self.runs[number].ended.set()

    def _read(self, source):
        def exactly(count):
            data = source.read(count)
            if len(data) < count:
                raise EOFError
            return data

        def text():
            return exactly(struct.unpack(">i", exactly(4))[0]).decode(errors="replace")

        try:
            while True:
                run = self.runs[struct.unpack(">i", exactly(4))[0]]
                if exactly(1) == b"e":
                    run.code = struct.unpack(">i", exactly(4))[0]
                    run.output, run.errors = text(), text()
                    run.ended.set()
                else:
                    run.so_far = text()
                run.told.set()
        except (EOFError, OSError, ValueError):
            for run in list(self.runs.values()):
                run.told.set()
                run.ended.set()
