"""Brokers as processes: Barnabas, and the real Kafka 3.9.2 with its ZooKeeper, on loopback and free ports. Each ends with
the script that started it, and is stopped by its process id."""

import atexit
import ctypes
import fcntl
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import places, wire

_RUNNING = []
_PORTS = []  # locked files, one a port
_counter = itertools.count()


def free_port():
    """A port that nobody uses, and that this script has until it ends: not one of those that the kernel gives to
    connections, or a connection may sit on a broker's port while the broker is away, or a client that tries to reach it
    there may reach itself."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as first_and_last:
        first = int(first_and_last.read().split()[0])
    folder = os.path.join(tempfile.gettempdir(), "barnabas-ports")
    os.makedirs(folder, exist_ok=True)
    for port in random.sample(range(first // 2, first), first // 2):
        lock = open(os.path.join(folder, str(port)), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _PORTS.append(lock)
        return port
    raise RuntimeError(f"no free port below {first}")


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _spawn(command, log, cwd=None, **more):
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, preexec_fn=_die_with_parent, **more
        )
    _RUNNING.append(process)
    return process


@atexit.register
def _end_all():
    for process in _RUNNING:
        if process.poll() is None:
            process.kill()
            process.wait()


def scratch(name):
    """A temporary folder that goes away with the script, unless it failed (KEEP=1 keeps it always)."""
    folder = tempfile.mkdtemp(prefix=f"barnabas-{name}-")
    if not os.environ.get("KEEP"):
        atexit.register(shutil.rmtree, folder, True)
    return folder


def log_settings(folder):
    path = os.path.join(folder, "log4j.properties")
    if not os.path.exists(path):
        with open(path, "w") as out:
            out.write(
                "log4j.rootLogger=WARN, stderr\nlog4j.appender.stderr=org.apache.log4j.ConsoleAppender\n"
                "log4j.appender.stderr.layout=org.apache.log4j.PatternLayout\n"
                "log4j.appender.stderr.layout.ConversionPattern=%p %m (%c)%n\n"
                "log4j.appender.stderr.Target=System.err\n"
            )
    return path


class Broker:
    """One broker. `properties` are added to its configuration; `log_dirs` default to one folder; `prefix` is put before
    its command."""

    prefix = []

    def __init__(self, folder, properties=None, log_dirs=None):
        self.folder = os.path.join(folder, f"{self.kind}-{next(_counter)}")
        os.makedirs(self.folder)
        self.log_dirs = log_dirs or [os.path.join(self.folder, "data")]
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.properties = dict(properties or {})
        self.process = None
        self.log = os.path.join(self.folder, "log")

    def write_properties(self, more):
        listener = f"PLAINTEXT://{self.bootstrap}"
        settings = {
            "broker.id": 0,
            "listeners": listener,
            "advertised.listeners": listener,
            "log.dirs": ",".join(self.log_dirs),
        }
        settings.update(more)
        settings.update(self.properties)
        path = os.path.join(self.folder, "server.properties")
        with open(path, "w") as out:
            out.writelines(f"{key}={value}\n" for key, value in settings.items())
        return path

    def start(self, wait=True, seconds=90):
        self.process = _spawn([*self.prefix, *self.command()], self.log, self.folder)
        if wait:
            self.await_ready(seconds)
        return self

    def await_ready(self, seconds=90):
        deadline = time.time() + seconds
        while True:
            try:
                with wire.Connection(self.bootstrap, 10) as client:
                    if client.metadata([])[0]:
                        return
            except (OSError, ValueError):
                pass
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.kind} ended with {self.process.returncode}:\n{self.tail()}")
            if time.time() > deadline:
                raise RuntimeError(f"{self.kind} does not answer after {seconds} s:\n{self.tail()}")
            time.sleep(0.01)

    def tail(self, lines=15):
        if not os.path.exists(self.log):
            return "it was not started\n"
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def connect(self):
        return wire.Connection(self.bootstrap)

    def stop(self, seconds=90):
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


class Barnabas(Broker):
    """`arguments` come behind `serve`'s own."""

    kind = "barnabas"
    arguments = []

    def command(self):
        return [places.barnabas(), "serve", "--config", self.write_properties({}), *self.arguments]

    def sessions(self):
        """How many it has begun with ZooKeeper."""
        with open(self.log, errors="replace") as text:
            return sum("ZooKeeper session" in line and " began " in line for line in text)


class ZooKeeper:
    """One for all Kafkas of a script; each Kafka has its own root in it. Or a server of an ensemble."""

    shared = None

    def __init__(self, folder, number=None, servers=""):
        self.port = free_port()
        data = os.path.join(folder, "zookeeper")
        os.makedirs(data)
        path = os.path.join(folder, "zookeeper.properties")
        with open(path, "w") as out:
            out.write(
                f"dataDir={data}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n"
                f"admin.enableServer=false\ntickTime=500\n{servers}"
            )
        if number is not None:
            with open(os.path.join(data, "myid"), "w") as out:
                out.write(f"{number}\n")
        self.command = [places.java(), "-Xmx256m", f"-Dlog4j.configuration=file:{log_settings(folder)}"]
        self.command += ["-cp", places.jars("3.9.2") + "/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain", path]
        self.log = os.path.join(folder, "zookeeper.log")
        if number is None:
            self.start()

    @classmethod
    def ensemble(cls, folder, count=3):
        """So many servers that are one ZooKeeper, started."""
        peers = "".join(f"server.{number}=127.0.0.1:{free_port()}:{free_port()}\n" for number in range(1, count + 1))
        servers = "initLimit=20\nsyncLimit=10\n" + peers
        members = [cls(os.path.join(folder, str(number)), number, servers) for number in range(1, count + 1)]
        for member in members:
            member.start(wait=False)
        for member in members:
            member.await_ready()
        return members

    def kill(self):
        self.process.kill()
        self.process.wait()

    def start(self, wait=True):
        self.process = _spawn(self.command, self.log)
        if wait:
            self.await_ready()

    def await_ready(self):
        deadline = time.time() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.time() > deadline or self.process.poll() is not None:
                    raise RuntimeError("ZooKeeper does not start")
                time.sleep(0.05)


class Kafka(Broker):
    """The real Kafka 3.9.2, in ZooKeeper mode, with the heap and the collector that its own start script sets."""

    kind = "kafka"

    def __init__(self, folder, properties=None, log_dirs=None):
        places.jars("3.9.2")
        if ZooKeeper.shared is None:
            ZooKeeper.shared = ZooKeeper(scratch("zookeeper"))
        super().__init__(folder, properties, log_dirs)
        self.killed_at = 0
        self.root = f"/{os.path.basename(self.folder)}-{self.port}"

    def command(self):
        path = self.write_properties(
            {
                "zookeeper.connect": f"127.0.0.1:{ZooKeeper.shared.port}{self.root}",
                "zookeeper.session.timeout.ms": 3000,
                "offsets.topic.replication.factor": 1,
                "transaction.state.log.replication.factor": 1,
                "transaction.state.log.min.isr": 1,
                "group.initial.rebalance.delay.ms": 0,
            }
        )
        collector = "-XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35"
        command = [places.java(), "-Xms1g", "-Xmx1g", "-server", *collector.split()]
        command += [f"-Dlog4j.configuration=file:{log_settings(self.folder)}"]
        return [*command, "-cp", places.jars("3.9.2") + "/*", "kafka.Kafka", path]

    def kill(self):
        super().kill()
        self.killed_at = time.time()

    def start(self, wait=True, seconds=90):
        # Its registration in ZooKeeper lives as long as its session, and a second one is refused.
        time.sleep(max(0, self.killed_at + 5 - time.time()))
        return super().start(wait, seconds)


class Kraft(Broker):
    """The real Kafka 4.2.0, broker and controller in one."""

    kind = "kraft"

    def __init__(self, folder, properties=None, log_dirs=None):
        places.jars("4.2.0")
        super().__init__(folder, properties, log_dirs)
        self.controller_port = free_port()

    def write_properties(self, more):
        number = self.properties.get("node.id", 0)
        replaced = {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self.controller_port}",
            "node.id": number,
            "broker.id": number,
            "process.roles": "broker,controller",
            "controller.quorum.voters": f"{number}@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
        return super().write_properties({**replaced, **more})

    def command(self):
        path = self.write_properties(
            {
                "offsets.topic.replication.factor": 1,
                "transaction.state.log.replication.factor": 1,
                "transaction.state.log.min.isr": 1,
                "group.initial.rebalance.delay.ms": 0,
            }
        )
        command = [places.java(), "-cp", places.jars("4.2.0") + "/*"]
        if not all(os.path.exists(os.path.join(one, "meta.properties")) for one in self.log_dirs):
            formatting = ["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", path]
            subprocess.run([*command, *formatting], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return [command[0], "-Xms1g", "-Xmx1g", "-server", *command[1:], "kafka.Kafka", path]


KINDS = {"barnabas": Barnabas, "kafka": Kafka, "kraft": Kraft}


def tool_command(version, name, *arguments, heap="256m", log4j=None):
    """How a class of Kafka's tools is run; `log4j` is a file of settings, if not the usual one."""
    if log4j is None:
        folder = os.path.join(places.CACHE, "settings")
        os.makedirs(folder, exist_ok=True)
        log4j = log_settings(folder)
    command = [places.java(), f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    command += [f"-Dlog4j.configuration=file:{log4j}", "-cp", places.jars(version) + "/*"]
    return [*command, name, *map(str, arguments)]


def tool(version, name, *arguments, input=None, timeout=120, check=True, heap="256m"):
    """Runs a class of Kafka's tools; returns its stdout. `input` is bytes or a file."""
    command = tool_command(version, name, *arguments, heap=heap)
    given = {"stdin": input} if hasattr(input, "fileno") else {"input": input or b""}
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **given)
    if check and run.returncode:
        raise RuntimeError(
            f"{name} of {version} ended with {run.returncode}: "
            + (run.stderr + run.stdout).decode(errors="replace")[-1500:]
        )
    run.text = run.stdout.decode(errors="replace")
    run.errors = run.stderr.decode(errors="replace")
    return run
