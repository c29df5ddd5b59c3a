"""Links between brokers, ZooKeeper and clients that can be cut: a listener before each broker and before ZooKeeper, in a
process of its own. Who has connected is known by the process that the other end of the connection belongs to."""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import threading

if __name__ != "__main__":
    from . import brokers

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
# Whoever is none of the brokers.
CLIENTS = "clients"
# What becomes of what is on its way when a link is cut: delivered after it is whole again; lost, with the connections broken
# when it is whole again; lost, with the connections broken and new ones refused at once.
LATE, LOST, REFUSED = "late", "lost", "refused"


class Links:
    """The side of the script. `targets`: {name: port}; `homes`: {name: working directory of the process}."""

    def __init__(self, targets, homes, log):
        self.ports = {name: brokers.free_port() for name in targets}
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                preexec_fn=brokers._die_with_parent,
            )
        brokers._RUNNING.append(self.process)
        self.lock, self.count = threading.Lock(), 0
        self._tell({"targets": targets, "ports": self.ports, "homes": homes})

    def cut(self, pairs, how):
        """Nothing goes from the first to the second of each pair from now on; `heal` wants what this gives."""
        self.count += 1
        self._tell({"cut": self.count, "pairs": [[str(one), str(other)] for one, other in pairs], "how": how})
        return self.count

    def heal(self, number):
        self._tell({"heal": number})

    def _tell(self, command):
        with self.lock:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
            if not self.process.stdout.readline():
                raise RuntimeError("the process that holds the links has ended")


def both(ones, others):
    """The pairs of either direction."""
    return [pair for one in ones for other in others if one != other for pair in ((one, other), (other, one))]


# --- the process -------------------------------------------------------------------------------------------------


def inode(port, to):
    """That of the socket of loopback which is connected from a port to another one. The kernel is asked for this one: the
    table in /proc/net/tcp takes it a hundred milliseconds on a machine with much memory."""
    loopback = bytes([127, 0, 0, 1]) + bytes(12)
    # inet_diag_req_v2: TCP of IPv4, in any state, with no cookie.
    body = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    body += struct.pack(">HH", port, to) + loopback + loopback + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as diagnosis:
        diagnosis.sendall(struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, 1, 0, 0) + body)
        answer = diagnosis.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] != SOCK_DIAG_BY_FAMILY:
        return 0  # it is gone already
    return struct.unpack_from("=I", answer, 84)[0]


def opened(process):
    """What a process has open. A file that it closes meanwhile must not hide the rest."""
    try:
        numbers = os.listdir(f"/proc/{process}/fd")
    except OSError:
        return
    for number in numbers:
        try:
            yield os.readlink(f"/proc/{process}/fd/{number}")
        except OSError:
            continue


class Connection:
    def __init__(self, source, target, writers):
        self.pairs = {(source, target), (target, source)}
        self.writers = writers

    def abort(self):
        for writer in self.writers:
            writer.transport.abort()


class Holder:
    def __init__(self, targets, ports, homes):
        self.targets, self.ports = targets, ports
        self.homes = {os.path.realpath(home): name for name, home in homes.items()}
        self.cuts = {}  # {number: (pairs, how)}
        self.connections = set()
        self.known = []
        self.changed = asyncio.Event()

    async def listen(self):
        for name, port in self.ports.items():
            await asyncio.start_server(lambda *ends, name=name: self.accepted(name, *ends), "127.0.0.1", port)

    def owner(self, port, to):
        """The name of the process which the connection from this port to that one belongs to."""
        link = f"socket:[{inode(port, to)}]"
        return next((name for process, name in self.processes() if link in opened(process)), CLIENTS)

    def processes(self):
        """(process, name) of the brokers that run: looked for again when one of those that are known has ended."""
        if len(self.known) < len(self.homes) or not all(os.path.exists(f"/proc/{process}/fd") for process, _ in self.known):
            self.known = []
            for process in filter(str.isdigit, os.listdir("/proc")):
                try:
                    name = self.homes.get(os.readlink(f"/proc/{process}/cwd"))
                except OSError:
                    continue
                if name:
                    self.known.append((process, name))
        return self.known

    def state(self, pair):
        """How the pair is cut; None if it is not."""
        hows = [how for pairs, how in self.cuts.values() if pair in pairs]
        return REFUSED if REFUSED in hows else hows[0] if hows else None

    async def passable(self, *pairs):
        while any(self.state(pair) for pair in pairs):
            await self.changed.wait()

    async def accepted(self, target, reader, writer):
        source = self.owner(writer.get_extra_info("peername")[1], self.ports[target])
        one = Connection(source, target, [writer])
        self.connections.add(one)
        try:
            if any(self.state(pair) == REFUSED for pair in one.pairs):
                return one.abort()
            # Connecting takes both directions.
            await self.passable(*one.pairs)
            if writer.is_closing():
                return
            beyond = await asyncio.open_connection("127.0.0.1", self.targets[target])
            one.writers.append(beyond[1])
            pumps = [
                asyncio.ensure_future(self.pump(reader, beyond[1], (source, target))),
                asyncio.ensure_future(self.pump(beyond[0], writer, (target, source))),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            self.connections.discard(one)
            for end in one.writers:
                end.close()

    async def pump(self, reader, writer, pair):
        while True:
            data = await reader.read(1 << 16)
            # An end is on its way like all else.
            if self.cuts:
                await self.passable(pair)
            if not data:
                return
            writer.write(data)
            await writer.drain()

    def cut(self, number, pairs, how):
        self.cuts[number] = ({tuple(pair) for pair in pairs}, how)
        if how == REFUSED:
            self.abort(self.cuts[number][0])

    def heal(self, number):
        pairs, how = self.cuts.pop(number)
        if how == LOST:
            self.abort(pairs)
        self.changed.set()
        self.changed = asyncio.Event()

    def abort(self, pairs):
        for one in list(self.connections):
            if one.pairs & pairs:
                one.abort()


async def hold():
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    holder = Holder(**json.loads(await commands.readline()))
    await holder.listen()
    while True:
        print("done", flush=True)
        line = await commands.readline()
        if not line:
            return
        command = json.loads(line)
        if "cut" in command:
            holder.cut(command["cut"], command["pairs"], command["how"])
        else:
            holder.heal(command["heal"])


if __name__ == "__main__":
    asyncio.run(hold())
