"""A client's version on the bench: a broker, or a cluster of three, and a driver that all scenarios share, and a second one
for those that stop it. Scenarios run side by side, each with its own topics and groups."""

import itertools
import os
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, wait

from harness import brokers, clusters, cut_answers, overheard, places
from harness.programs import PATIENCE
from harness.routed import Routed
from harness.scenario import ended, equal
from harness.way import Gate

from . import driver, folders

# So many scenarios at once: they mostly wait.
SIDE_BY_SIDE = 8
SETTINGS = {
    "num.partitions": 2,
    "offsets.topic.num.partitions": 8,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
}


class Scenario:
    """`needs` are the features that a client must have; `restarts` says that it stops the broker."""

    def __init__(self, name, needs, restarts, function):
        self.name, self.needs, self.restarts, self.function = name, needs, restarts, function


class Registry(list):
    def __call__(self, name, *needs, restarts=False):
        """Marks a function as a scenario."""

        def mark(function):
            self.append(Scenario(name, needs, restarts, function))
            return function

        return mark


class Outcome:
    def __init__(self, result, detail="", seconds=0.0):
        self.result, self.detail, self.seconds = result, detail, seconds

    def said(self):
        return self.detail and f": {self.detail}"


class Replicated(clusters.Cluster):
    """Three brokers, where scenarios ask for one. `ways` are lists of the ways to them, each to a listener of its own."""

    def __init__(self, kind, ways):
        super().__init__("compat-cluster", [kind] * 3, SETTINGS)
        self.kind = kind
        for broker, *its in zip(self.brokers.values(), *ways):
            add_listeners(broker, its)

    def connect(self):
        return Routed(self)

    def restart(self, number, kill=False):
        if kill:
            self.brokers[number].kill()
        else:
            equal(self.brokers[number].stop(), 0 if self.kind == "barnabas" else 143, f"exit code of broker {number}")
        self.brokers[number].start()


class Ways(list):
    """One to each broker."""

    @property
    def bootstrap(self):
        return ",".join(way.bootstrap for way in self)

    @property
    def cuts(self):
        return sum(way.cuts for way in self)

    @property
    def produced(self):
        return sum(way.produced for way in self)

    def acks(self, text):
        return [acks for way in self for acks in way.acks(text)]


def add_listeners(broker, ways):
    """One for each way, whose address is that of the way to it."""
    own = f"PLAINTEXT://{broker.bootstrap}"
    names, ports = [f"WAY{n}" for n in range(len(ways))], [brokers.free_port() for _ in ways]
    broker.properties.update(
        {
            "listeners": ",".join([own, *(f"{name}://127.0.0.1:{port}" for name, port in zip(names, ports))]),
            "advertised.listeners": ",".join([own, *(f"{name}://{way.bootstrap}" for name, way in zip(names, ways))]),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in ["PLAINTEXT", *names]),
            "inter.broker.listener.name": "PLAINTEXT",
        }
    )
    for way, port in zip(ways, ports):
        way.to(port)


class Bench:
    def __init__(self, kind, installed, is_cluster=False):
        self.kind, self.installed, self.is_cluster = kind, installed, is_cluster
        self.folder = brokers.scratch(f"compat-{installed.client.name}-{installed.version}")
        self.handles = itertools.count()
        self.driver = driver.Driver(installed, os.path.join(self.folder, "driver.log"))
        kinds = (cut_answers.CutAnswers, overheard.Overheard, Gate)
        made = (Ways(kind() for _ in range(3)) if is_cluster else kind() for kind in kinds)
        self.way, self.overheard, self.gate = made

    def run(self, scenarios, told):
        """Tells `told` of the outcome of each."""
        started = []

        def begun(threads, scenarios, *ways):
            if scenarios:
                started.append(self.broker(ways).start())
            return [threads.submit(self._outcome, scenario, started[-1], told) for scenario in scenarios]

        try:
            # A process ends with the thread that started it: all of them live until everything has ended.
            with ThreadPoolExecutor(SIDE_BY_SIDE) as threads, ThreadPoolExecutor(1) as thread:
                running = begun(threads, [scenario for scenario in scenarios if not scenario.restarts], self.way, self.overheard)
                if self.kind == "kafka":
                    # One that starts on a busy machine loses its session with ZooKeeper.
                    wait(running)
                running += begun(thread, [scenario for scenario in scenarios if scenario.restarts], self.gate)
                if self.is_cluster:
                    self._restart_one(started[0], running)
                for one in running:
                    one.result()
                for broker in started:
                    broker.stop()
        finally:
            self.driver.end()

    def broker(self, ways):
        if self.is_cluster:
            return Replicated(self.kind, ways)
        broker = brokers.KINDS[self.kind](self.folder, SETTINGS)
        add_listeners(broker, ways)
        return broker

    def _restart_one(self, cluster, running):
        """Stops a broker of the cluster that most scenarios share, and starts it again, in the middle of them."""
        while sum(one.done() for one in running) < len(running) // 3:
            time.sleep(0.02)
        number = max(cluster.brokers)
        begun = sum(one.running() for one in running)
        cluster.restart(number)
        print(f"broker {number} was restarted beside {begun} scenarios", flush=True)

    def _outcome(self, scenario, broker, told):
        started = time.time()
        context = Context(self, broker, scenario)
        try:
            scenario.function(context)
            context.close()
            outcome = Outcome("pass")
        except places.Missing as reason:
            outcome = Outcome("skip", f"a peer is missing: {reason}")
            context.abandon()
        except Exception as error:
            detail = f"{type(error).__name__}: {error}"
            if not isinstance(error, (AssertionError, RuntimeError, OSError, driver.Refused)):
                detail += "\n" + traceback.format_exc()
            outcome = Outcome("FAIL", detail + ended(broker))
            context.abandon()
        outcome.seconds = time.time() - started
        told(scenario, outcome)


class Peers:
    """Drivers of other clients, that scenarios need; each started once, for all benches, by a thread that lives on."""

    def __init__(self):
        self.thread, self.drivers = ThreadPoolExecutor(1), {}

    def driver(self, name, version):
        return self.thread.submit(self._driver, name, version).result()

    def _driver(self, name, version):
        if (name, version) not in self.drivers:
            installed = folders.Client(name).installed(version)
            log = os.path.join(brokers.scratch(f"compat-peer-{name}-{version}"), "driver.log")
            self.drivers[name, version] = driver.Driver(installed, log)
        return self.drivers[name, version]


peers = Peers()


class Context:
    """What a scenario has. Topics and groups are named after it, so that none meets another's."""

    def __init__(self, bench, broker, scenario):
        self.bench, self.broker, self.scenario = bench, broker, scenario
        self.client = (bench.installed.client.name, bench.installed.version)
        self.way, self.overheard, self.opened = bench.way, bench.overheard, []
        # A Kafka that starts knows nothing of its topics for a moment, and some clients give up then: they are let in later.
        gated = scenario.restarts and broker.kind == "kafka" and not bench.is_cluster
        self.gate = bench.gate if gated else None
        self.bootstrap = bench.gate.bootstrap if gated else broker.bootstrap

    def name(self, more=""):
        return self.scenario.name + (f"-{more}" if more else "")

    def topic(self, partitions=1, more="", **configs):
        with self.broker.connect() as wire:
            configs = {key.replace("_", "."): value for key, value in configs.items()}
            wire.create_topic(self.name(more), partitions, configs)
        return self.name(more)

    def restart(self, topic, kill=False, group=None):
        """Of a cluster the broker that leads the topic, or coordinates the group."""
        if self.bench.is_cluster:
            with self.broker.connect() as client:
                number = client.find_coordinator(group) if group else self.broker.leader(topic)
            self.broker.restart(number, kill)
            return
        if self.gate:
            self.gate.shut = True
        if kill:
            self.broker.kill()
        else:
            equal(self.broker.stop(), 0 if self.broker.kind == "barnabas" else 143, "exit code of the broker")
        self.broker.start()
        if self.gate:
            with self.broker.connect() as wire:
                wire.await_leaders(topic)
            self.gate.shut = False

    def look(self, looked):
        """Of a cluster until it is as it should be: one of its brokers may be starting."""
        deadline = time.time() + PATIENCE
        while True:
            try:
                return looked()
            except AssertionError:
                if not self.bench.is_cluster or time.time() > deadline:
                    raise
            time.sleep(0.1)

    def producer(self, bootstrap=None, peer=None, **settings):
        """A `peer` is (client, version): another client in place of the one that is on the bench. Of a cluster a broker goes
        in the middle, and who sends again then sends some twice, unless it is idempotent."""
        if self.bench.is_cluster and not peer and settings.get("acks", "all") == "all":
            if self.bench.installed.client.offers("idempotence", self.bench.installed.version):
                settings = {"acks": "all", "enable_idempotence": "true", **settings}
        return self._open(driver.Producer, "producer", settings, bootstrap, peer)

    def consumer(self, peer=None, **settings):
        return self._open(driver.Consumer, "consumer", settings, None, peer)

    def member(self, group=None, **settings):
        """A consumer of a group that begins at the earliest record."""
        wishes = {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 200, "auto.offset.reset": "earliest"}
        return self.consumer(group_id=group or self.name(), **{**wishes, **settings})

    def admin(self):
        return self._open(driver.Handle, "admin", {})

    def _open(self, kind, role, settings, bootstrap=None, peer=None):
        to = peers.driver(*peer) if peer else self.bench.driver
        name = f"{self.scenario.name}-{role}-{next(self.bench.handles)}"
        handle = kind(to, name, role, bootstrap or self.bootstrap, settings)
        self.opened.append(handle)
        return handle

    def side_by_side(self, function, values):
        """The results of the function for each value, all at once."""
        with ThreadPoolExecutor(max(1, len(values))) as threads:
            return list(threads.map(function, values))

    def beside(self, function):
        """A thread that runs the function; `result()` waits for it."""
        threads = ThreadPoolExecutor(1)
        future = threads.submit(function)
        threads.shutdown(wait=False)
        return future

    def close(self):
        self.side_by_side(driver.Handle.close, [handle for handle in self.opened if handle.is_open])

    def abandon(self):
        """Closes what can be closed still."""
        try:
            self.close()
        except (RuntimeError, AssertionError, driver.Refused):
            pass
