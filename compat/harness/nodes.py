"""ZooKeeper's nodes, read and written as any old tool may: a session for each call, on the standard library."""

import collections
import socket
import struct

from .wire import Reader

CREATE, DELETE, GET, SET, CHILDREN, CLOSE = 1, 2, 4, 5, 8, -11
NO_NODE = -101
# world:anyone may do everything
OPEN = struct.pack(">ii", 1, 31) + struct.pack(">i", 5) + b"world" + struct.pack(">i", 6) + b"anyone"
PERSISTENT, SEQUENTIAL = 0, 2


# When a node was created and last changed, and when its list of children was (czxid, mzxid, pzxid): ZooKeeper counts all
# changes of all nodes as one row.
Stat = collections.namedtuple("Stat", "created modified children_modified version")


class NodeError(Exception):
    pass


def _bytes(data):
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


class Nodes:
    """The nodes below a root, such as 127.0.0.1:2181/kafka."""

    def __init__(self, connect):
        self.address, _, root = connect.partition("/")
        self.root = "/" + root if root else ""

    def get(self, path):
        """The data of a node as text; None when there is no such node."""
        reader = self._call(GET, self._path(path) + b"\0")
        if reader is None:
            return None
        data = reader.bytes()
        return "" if data is None else data.decode()

    def stat(self, path):
        reader = self._call(GET, self._path(path) + b"\0")
        if reader is None:
            return None
        reader.bytes()
        created, modified, _, _, version = reader.i64(), reader.i64(), reader.i64(), reader.i64(), reader.i32()
        reader.i32(), reader.i32(), reader.i64(), reader.i32(), reader.i32()
        return Stat(created, modified, reader.i64(), version)

    def children(self, path):
        """The names of its children, in order; None when there is no such node."""
        reader = self._call(CHILDREN, self._path(path) + b"\0")
        return None if reader is None else sorted(reader.bytes().decode() for _ in range(reader.i32()))

    def set(self, path, text):
        if self._call(SET, self._path(path) + _bytes(text.encode()) + struct.pack(">i", -1)) is None:
            raise NodeError(f"{path} is not there")

    def create(self, path, text, sequential=False):
        """Its path, which for a sequential node ends in ten digits."""
        flags = struct.pack(">i", SEQUENTIAL if sequential else PERSISTENT)
        reader = self._call(CREATE, self._path(path) + _bytes(None if text is None else text.encode()) + OPEN + flags)
        if reader is None:
            raise NodeError(f"what is above {path} is not there")
        return reader.bytes().decode()[len(self.root) :]

    def delete(self, path):
        if self._call(DELETE, self._path(path) + struct.pack(">i", -1)) is None:
            raise NodeError(f"{path} is not there")

    def _path(self, path):
        return _bytes((self.root + path).encode())

    def _call(self, operation, body):
        """What is behind the header of the answer; None when it says that there is no such node."""
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 20) as connection:

            def send(frame):
                connection.sendall(struct.pack(">i", len(frame)) + frame)

            def receive():
                return Reader(_exactly(connection, struct.unpack(">i", _exactly(connection, 4))[0]))

            send(struct.pack(">iqiq", 0, 0, 10_000, 0) + _bytes(bytes(16)))
            receive()
            send(struct.pack(">ii", 1, operation) + body)
            reader = receive()
            _, _, error = reader.i32(), reader.i64(), reader.i32()
            send(struct.pack(">ii", 2, CLOSE))
            receive()
        if error == NO_NODE:
            return None
        if error:
            raise NodeError(f"ZooKeeper answers {error} to operation {operation}")
        return reader


def _exactly(connection, count):
    out = bytearray()
    while len(out) < count:
        part = connection.recv(count - len(out))
        if not part:
            raise ConnectionError("closed by ZooKeeper")
        out += part
    return bytes(out)
