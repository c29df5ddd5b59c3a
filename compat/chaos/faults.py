"""What is broken while others write and read: a schedule drawn from a seed, and the faults that it is made of."""

import heapq
import itertools
import os
import random
import shutil
import signal
import subprocess
import time

from harness import links, wire

KINDS = ["kill", "stop", "links", "controller", "zookeeper", "disk"]
# So many are under way at once, at most.
AT_ONCE = 2


class Impossible(Exception):
    """Why a fault cannot be had on this machine."""


class Disk:
    """A small file system as one log directory of a broker."""

    def __init__(self, folder):
        if os.geteuid() != 0:
            raise Impossible("mounting a small file system needs root")
        self.folder = folder
        os.makedirs(folder)
        mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", folder]
        if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
            raise Impossible("a tmpfs cannot be mounted here")
        # What fills it up is no partition.
        self.logs = os.path.join(folder, "logs")
        os.makedirs(self.logs)
        self.locked = False
        self.can_lock = self._attribute("+i", self.logs) and self._attribute("-i", self.logs)

    @staticmethod
    def _attribute(how, *paths):
        if not shutil.which("chattr"):
            return False
        return subprocess.run(["chattr", how, *paths], stderr=subprocess.DEVNULL).returncode == 0

    def fill(self):
        with open(os.path.join(self.folder, "filler"), "wb") as filler:
            try:
                while True:
                    filler.write(bytes(1 << 20))
            except OSError:
                pass

    def lock(self):
        """No file can be made, renamed or removed any more."""
        self.locked = True
        for name in sorted(os.listdir(self.logs)):
            self._attribute("+i", os.path.join(self.logs, name))
        self._attribute("+i", self.logs)

    def heal(self):
        if self.locked:
            self._attribute("-i", self.logs, *(os.path.join(self.logs, name) for name in os.listdir(self.logs)))
            self.locked = False
        filler = os.path.join(self.folder, "filler")
        if os.path.exists(filler):
            os.remove(filler)

    def end(self, keep):
        """Unmounted; what it held stays in its folder if it is to be kept."""
        self.heal()
        kept = self.folder + ".kept"
        if keep:
            shutil.copytree(self.logs, kept)
        subprocess.run(["umount", "-l", self.folder], check=True)
        if keep:
            os.rename(kept, self.logs)


class Nemesis:
    """`say` prints a line; `record` is a function for the history."""

    def __init__(self, cluster, zookeeper, holder, disks, kinds, seed, say):
        self.cluster, self.zookeeper, self.links, self.disks = cluster, zookeeper, holder, disks
        self.kinds, self.say = kinds, say
        some = next(iter(cluster.brokers.values()))
        self.session = int(some.properties["zookeeper.session.timeout.ms"]) / 1000
        self.dice = random.Random(seed)
        self.busy = set()  # brokers, and ZooKeeper, to which something is being done
        self.away = set()  # brokers that were ended by this
        self.counts = {}
        self.skipped = 0
        self.order = itertools.count()
        self.agenda = []  # (time, order, function)
        self.healing = {}  # {order: function} of what is under way
        self.failures = []

    def plan(self, seconds):
        """All that is random is drawn now, but for who it meets."""
        at = 3.0
        # A fault is over, and the cluster whole for a while, before the end.
        while self.kinds and at < seconds - 2 * self.session:
            kind = self.dice.choice(self.kinds)
            draws = [self.dice.random() for _ in range(6)]
            self.later(at, lambda kind=kind, draws=draws: self.begin(kind, draws))
            at += self.dice.uniform(1, 9)

    def later(self, at, function):
        heapq.heappush(self.agenda, (at, next(self.order), function))

    def due(self, now):
        """Does what is due; to be called often."""
        while self.agenda and self.agenda[0][0] <= now:
            self.now = now
            heapq.heappop(self.agenda)[2]()

    def free(self):
        return [number for number in self.cluster.running() if number not in self.busy]

    def begin(self, kind, draws):
        free = self.free()
        if len(self.healing) >= AT_ONCE or not free or (kind == "zookeeper" and "zookeeper" in self.busy):
            self.skipped += 1
            return
        victim = free[int(draws[0] * len(free))]
        if kind == "controller":
            victim = self.controller()
            if victim not in free:
                self.skipped += 1
                return
        begun = getattr(self, "on_" + kind)(victim, draws[1:])
        if begun is None:
            self.skipped += 1
            return
        text, who, seconds, heal = begun
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.busy.update(who)
        number = next(self.order)
        self.say(f"{kind}: {text}, for {seconds:.1f} s")

        def healed():
            if self.healing.pop(number, None):
                self.busy.difference_update(who)
                said = heal()
                self.say(f"{kind}: {said or 'over'} ({text})")

        self.healing[number] = healed
        self.later(self.now + seconds, healed)

    def heal_all(self):
        self.agenda.clear()
        for heal in list(self.healing.values()):
            heal()

    def controller(self):
        """As one of those sees it to which nothing is done; None if none answers at once."""
        for number in self.free():
            try:
                with wire.Connection(self.cluster.brokers[number].bootstrap, 1) as client:
                    return client.cluster([]).controller
            except (OSError, ValueError):
                continue
        return None

    # --- the faults: what to say, whom it concerns, how long, and a function that ends it; None if it cannot be now

    def on_kill(self, victim, draws):
        free = self.free()
        how, many = "kill -9", [victim]
        if draws[0] < 0.05:
            many = free
        elif draws[0] < 0.2 and len(free) > 1:
            many = [victim, next(number for number in free if number != victim)]
        elif draws[0] < 0.4:
            how = "SIGTERM"
        # At once, in the life of the session, or after its end.
        seconds = 0.0 if draws[1] < 0.25 else draws[2] * self.session if draws[1] < 0.6 else draws[2] * 8 + self.session
        if how == "SIGTERM":
            seconds = max(seconds, self.session)
        for number in many:
            self.away.add(number)
            if how == "SIGTERM":
                self.cluster.brokers[number].process.terminate()
            else:
                self.cluster.brokers[number].kill()
        return f"{how} {self.named(many)}", many, seconds, lambda: self.start(many)

    def start(self, numbers):
        said = "started again"
        for number in numbers:
            broker = self.cluster.brokers[number]
            # One that was told to stop may wait for others that are away, and nobody waits for it here.
            if broker.process.poll() is None:
                broker.kill()
                said = "killed, as it had not ended, and started again"
            broker.start(wait=False)
            self.away.discard(number)
        return said

    def on_stop(self, victim, draws):
        process = self.cluster.brokers[victim].process
        process.send_signal(signal.SIGSTOP)
        return f"SIGSTOP broker {victim}", [victim], (2 + draws[0]) * self.session, lambda: process.send_signal(signal.SIGCONT)

    def on_controller(self, victim, draws):
        if draws[0] < 0.5:
            return self.on_stop(victim, draws[1:])
        return self.on_kill(victim, [0.5, *draws[1:]])

    def on_zookeeper(self, _, draws):
        seconds = draws[0] * 3 * self.session
        if draws[1] < 0.3:
            process = self.zookeeper.process
            process.send_signal(signal.SIGSTOP)
            return "SIGSTOP ZooKeeper", ["zookeeper"], seconds, lambda: process.send_signal(signal.SIGCONT)
        self.zookeeper.kill()
        return "kill -9 ZooKeeper", ["zookeeper"], seconds, lambda: self.zookeeper.start(wait=False)

    def on_links(self, victim, draws):
        others = [number for number in self.cluster.brokers if number != victim]
        other = others[int(draws[3] * len(others))]
        half = others[: len(others) // 2]
        all_others = [*others, "zookeeper", links.CLIENTS]
        text, pairs = [
            (f"broker {victim} from the other brokers", links.both([victim], others)),
            (f"broker {victim} from ZooKeeper", links.both([victim], ["zookeeper"])),
            (f"broker {victim} from broker {other}", links.both([victim], [other])),
            (f"what broker {victim} sends to other brokers", [(victim, one) for one in others]),
            (f"what other brokers send to broker {victim}", [(one, victim) for one in others]),
            (f"what clients send to broker {victim}", [(links.CLIENTS, victim)]),
            (f"broker {victim} from clients", links.both([victim], [links.CLIENTS])),
            (f"broker {victim} from all", links.both([victim], all_others)),
            (f"{self.named([victim, *half])} from the others", links.both([victim, *half], others[len(half) :])),
        ][int(draws[0] * 9)]
        how = [links.LATE, links.LOST, links.REFUSED][int(draws[1] * 3)]
        number = self.links.cut(pairs, how)
        # What the others have of it is their own affair: it may be killed meanwhile.
        return f"cut {text} ({how})", [], 1 + draws[2] * 14, lambda: self.links.heal(number)

    def on_disk(self, victim, draws):
        disk, broker = self.disks[victim], self.cluster.brokers[victim]
        if draws[0] < 0.5 or not disk.can_lock:
            disk.fill()
            text = f"a log directory of broker {victim} is full"
        else:
            disk.lock()
            text = f"no file can be made in a log directory of broker {victim}"

        def heal():
            # Before or after its end: it may find the space, and is to make no use of it.
            if draws[1] < 0.5:
                disk.heal()
            self.away.add(victim)
            broker.kill()
            disk.heal()
            return self.start([victim])

        return text, [victim], 3 + draws[2] * 12, heal

    def named(self, numbers):
        return ("broker " if len(numbers) == 1 else "brokers ") + ", ".join(map(str, numbers))
