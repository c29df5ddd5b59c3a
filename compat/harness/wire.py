"""A small Kafka client on the standard library: old, non-flexible request versions and record batches, built by hand so
that tests decide each byte. Used by the scenarios in compat/ and by scripts/byte-compare."""

import collections
import gzip
import os
import socket
import struct
import subprocess
import time
import zlib

from . import places

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS = 0, 1, 2, 3, 18
CREATE_TOPICS, DELETE_TOPICS, DELETE_RECORDS, INIT_PRODUCER_ID = 19, 20, 21, 22
OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 8, 9, 10
DESCRIBE_GROUPS = 15
ADD_PARTITIONS_TO_TXN, END_TXN, DESCRIBE_CONFIGS, ALTER_CONFIGS, ALTER_REPLICA_LOG_DIRS = 24, 26, 32, 33, 34
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
CODEC_NAMES = {number: name for name, number in CODECS.items()}


def _crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    return table


_TABLE = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def compress(codec, data):
    """By name; gzip of one level and without a time, so that it is always the same bytes. Others by the load tool."""
    if codec == "none":
        return data
    if codec == "gzip":
        return gzip.compress(data, 6, mtime=0)
    return subprocess.run([places.load_tool(), "compress", codec], input=data, stdout=subprocess.PIPE, check=True).stdout


def decompress(codec, data):
    if codec == "none":
        return data
    if codec == "gzip":
        return gzip.decompress(data)
    return subprocess.run(
        [places.load_tool(), "decompress", codec], input=data, stdout=subprocess.PIPE, check=True
    ).stdout


def xxh32(data):
    """Of less than 16 bytes: enough for the header of an lz4 frame."""
    mask, primes = 0xFFFFFFFF, (2654435761, 2246822519, 3266489917, 668265263, 374761393)

    def rotated(n, by):
        return (n << by | n >> 32 - by) & mask

    out, at = primes[4] + len(data), 0
    while at + 4 <= len(data):
        lane = struct.unpack_from("<I", data, at)[0]
        out, at = rotated(out + lane * primes[2] & mask, 17) * primes[3] & mask, at + 4
    for byte in data[at:]:
        out = rotated(out + byte * primes[4] & mask, 11) * primes[0] & mask
    for shift, prime in ((15, primes[1]), (13, primes[2]), (16, 1)):
        out = (out ^ out >> shift) * prime & mask
    return out


def lz4_header(frame, broken):
    """The frame with its header's checksum as the format has it, or as the first Java clients had it: with the magic
    number in it, and so in all messages of magic 0."""
    end = 6 + (8 if frame[4] & 8 else 0)
    return frame[:end] + bytes([xxh32(frame[0 if broken else 4 : end]) >> 8 & 0xFF]) + frame[end + 1 :]


# --- primitive types ---------------------------------------------------------------------------------------------


def string(text):
    if text is None:
        return b"\xff\xff"
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def varint(value):
    rest = (value << 1) ^ (value >> 63)
    rest &= (1 << 64) - 1
    return uvarint(rest)


def uvarint(rest):
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


class Reader:
    """Takes fields off the front of some bytes."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise ValueError(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def _unpack(self, form, size):
        return struct.unpack(form, self.take(size))[0]

    def i8(self):
        return self._unpack(">b", 1)

    def i16(self):
        return self._unpack(">h", 2)

    def i32(self):
        return self._unpack(">i", 4)

    def i64(self):
        return self._unpack(">q", 8)

    def u32(self):
        return self._unpack(">I", 4)

    def string(self):
        length = self.i16()
        return None if length < 0 else self.take(length).decode()

    def bytes(self):
        length = self.i32()
        return None if length < 0 else self.take(length)

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def varint(self):
        value = self.uvarint()
        return (value >> 1) ^ -(value & 1)

    def varbytes(self):
        length = self.varint()
        return None if length < 0 else self.take(length)

    def left(self):
        return len(self.data) - self.at


# --- record batches ----------------------------------------------------------------------------------------------


def record(offset_delta, key, value, headers=(), timestamp_delta=0):
    def nullable(data):
        return varint(-1) if data is None else varint(len(data)) + data

    body = b"\0" + varint(timestamp_delta) + varint(offset_delta) + nullable(key) + nullable(value)
    body += varint(len(headers))
    for name, content in headers:
        body += varint(len(name.encode())) + name.encode() + nullable(content)
    return varint(len(body)) + body


def batch(records, codec="none", producer=(-1, -1, -1), timestamps=None, attributes=0, base_offset=0, epoch=-1):
    """A batch of magic 2. `records`: (key, value) or (key, value, headers); `timestamps`: one for each, in ms."""
    now = int(time.time() * 1000)
    timestamps = timestamps or [now] * len(records)
    base = timestamps[0]
    payload = b"".join(
        record(n, r[0], r[1], r[2] if len(r) > 2 else (), timestamps[n] - base) for n, r in enumerate(records)
    )
    payload = compress(codec, payload)
    producer_id, producer_epoch, sequence = producer
    body = struct.pack(
        ">hiqqqhii",
        attributes | CODECS[codec],
        len(records) - 1,
        base,
        max(timestamps),
        producer_id,
        producer_epoch,
        sequence,
        len(records),
    )
    body += payload
    return struct.pack(">qiibI", base_offset, 9 + len(body), epoch, 2, crc32c(body)) + body


def message(offset, magic, key, value, codec="none", timestamp=-1):
    """A message of magic 0 or 1."""
    body = struct.pack(">bb", magic, CODECS[codec])
    if magic == 1:
        body += struct.pack(">q", timestamp)
    for part in (key, value):
        body += struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part
    body = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", offset, len(body)) + body


def message_set(magic, records, codec="none", timestamps=None):
    """A message set of magic 0 or 1; with a codec, one wrapper (inner offsets relative from magic 1 on)."""
    timestamps = timestamps or [-1] * len(records)
    inner = b"".join(message(n, magic, r[0], r[1], timestamp=timestamps[n]) for n, r in enumerate(records))
    if codec == "none":
        return inner
    payload = compress(codec, inner)
    if codec == "lz4" and magic == 0:
        payload = lz4_header(payload, broken=True)
    return message(len(records) - 1, magic, None, payload, codec, max(timestamps))


def messages(data):
    """(offset, timestamp or None, key, value) of each message of a set of magic 0 or 1, out of its wrappers too; a torn one
    at the end is left out."""
    reader, out = Reader(data), []
    while reader.left() >= 12:
        offset, size = reader.i64(), reader.i32()
        if size > reader.left():
            break
        crc, body = reader.u32(), reader.take(size - 4)
        if zlib.crc32(body) != crc:
            raise ValueError(f"the message at {offset} has a wrong checksum")
        inside = Reader(body)
        magic, attributes = inside.i8(), inside.i8()
        timestamp = inside.i64() if magic else None
        key, value = inside.bytes(), inside.bytes()
        if attributes & 7:
            wrapped = messages(decompress(CODEC_NAMES[attributes & 7], value))
            # Of magic 1 they are relative, and the wrapper has the offset of the last.
            base = offset - wrapped[-1][0] if magic else 0
            out += [(base + one[0], *one[1:]) for one in wrapped]
        else:
            out.append((offset, timestamp, key, value))
    return out


class Batch:
    """A view of one batch of magic 2."""

    def __init__(self, data, position=0):
        self.data, self.position = data, position
        reader = Reader(data)
        self.base_offset, self.length, self.leader_epoch = reader.i64(), reader.i32(), reader.i32()
        self.magic, self.crc = reader.i8(), reader.u32()
        if self.magic != 2:
            raise ValueError(f"magic {self.magic}")
        self.attributes, self.last_offset_delta = reader.i16(), reader.i32()
        self.base_timestamp, self.max_timestamp = reader.i64(), reader.i64()
        self.producer_id, self.producer_epoch, self.base_sequence = reader.i64(), reader.i16(), reader.i32()
        self.count = reader.i32()

    @property
    def codec(self):
        return CODEC_NAMES.get(self.attributes & 7, "?")

    @property
    def last_offset(self):
        return self.base_offset + self.last_offset_delta

    @property
    def is_control(self):
        return bool(self.attributes & 0x20)

    def crc_is_right(self):
        return crc32c(self.data[21:]) == self.crc

    def payload(self):
        return decompress(self.codec, self.data[61:])

    def records(self):
        """(offset, timestamp, key, value, headers) of each record."""
        reader = Reader(self.payload())
        out = []
        for _ in range(self.count):
            one = Reader(reader.take(reader.varint()))
            one.i8()
            timestamp = self.max_timestamp if self.attributes & 8 else self.base_timestamp
            delta = one.varint()
            timestamp += 0 if self.attributes & 8 else delta
            offset = self.base_offset + one.varint()
            key, value = one.varbytes(), one.varbytes()
            headers = [(one.varbytes().decode(), one.varbytes()) for _ in range(one.varint())]
            out.append((offset, timestamp, key, value, headers))
        return out


def batches(data):
    """The whole batches in some bytes; a torn one at the end is left out."""
    at = 0
    while at + 61 <= len(data):
        size = 12 + struct.unpack_from(">i", data, at + 8)[0]
        if size < 61 or at + size > len(data):
            return
        yield Batch(data[at : at + size], at)
        at += size


# --- the client --------------------------------------------------------------------------------------------------


class ErrorCode(Exception):
    def __init__(self, code, what):
        super().__init__(f"error {code}: {what}")
        self.code = code


Cluster = collections.namedtuple("Cluster", "brokers controller topics partitions")
Partition = collections.namedtuple("Partition", "topic index error leader replicas isr")


class Connection:
    """One blocking connection; may pipeline by `send` and `receive`."""

    def __init__(self, bootstrap, timeout=60):
        host, port = bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, key, version, body, flexible=False):
        self.correlation_id += 1
        frame = struct.pack(">hhi", key, version, self.correlation_id) + string("harness")
        frame += (b"\0" if flexible else b"") + body
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        return self.correlation_id

    def send_raw(self, frame):
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)

    def _exactly(self, count):
        out = bytearray()
        while len(out) < count:
            part = self.socket.recv(min(1 << 20, count - len(out)))
            if not part:
                raise ConnectionError("closed by the broker")
            out += part
        return bytes(out)

    def receive(self, flexible=False):
        """(correlation id, Reader behind the header)."""
        reader = Reader(self._exactly(struct.unpack(">i", self._exactly(4))[0]))
        correlation_id = reader.i32()
        if flexible:
            reader.uvarint()
        return correlation_id, reader

    def call(self, key, version, body, flexible=False):
        sent = self.send(key, version, body, flexible)
        correlation_id, reader = self.receive(flexible)
        if correlation_id != sent:
            raise ValueError(f"correlation id {correlation_id}, sent {sent}")
        return reader

    def api_versions(self):
        """Key to (lowest, highest)."""
        reader = self.call(API_VERSIONS, 0, b"")
        code = reader.i16()
        if code:
            raise ErrorCode(code, "ApiVersions")
        return {reader.i16(): (reader.i16(), reader.i16()) for _ in range(reader.i32())}

    def metadata(self, topics=None, create=False):
        """(brokers {id: "host:port"}, {topic: (error, {partition: (error, leader)})})."""
        found = self.cluster(topics, create)
        topics = {}
        for partition in found.partitions:
            topics.setdefault(partition.topic, {})[partition.index] = (partition.error, partition.leader)
        return found.brokers, {name: (error, topics.get(name, {})) for name, error in found.topics.items()}

    def cluster(self, topics=None, create=False):
        """The whole of a Metadata answer."""
        body = struct.pack(">i", -1) if topics is None else struct.pack(">i", len(topics))
        body += b"".join(string(topic) for topic in topics or ())
        reader = self.call(METADATA, 4, body + (b"\1" if create else b"\0"))
        reader.i32()
        brokers = {}
        for _ in range(reader.i32()):
            number, host, port = reader.i32(), reader.string(), reader.i32()
            reader.string()
            brokers[number] = f"{host}:{port}"
        reader.string()
        found = Cluster(brokers, reader.i32(), {}, [])
        for _ in range(reader.i32()):
            error, name = reader.i16(), reader.string()
            reader.i8()
            found.topics[name] = error
            for _ in range(reader.i32()):
                code, index, leader = reader.i16(), reader.i32(), reader.i32()
                replicas, isr = ([reader.i32() for _ in range(reader.i32())] for _ in range(2))
                found.partitions.append(Partition(name, index, code, leader, replicas, isr))
        return found

    def create_topic(self, name, partitions=1, configs=None, wait=30, replication=1, assignment=()):
        """`assignment`: the brokers of each partition, in place of the two numbers."""
        numbers = (-1, -1) if assignment else (partitions, replication)
        body = struct.pack(">i", 1) + string(name) + struct.pack(">ihi", *numbers, len(assignment))
        for partition, replicas in enumerate(assignment):
            body += struct.pack(f">ii{len(replicas)}i", partition, len(replicas), *replicas)
        body += struct.pack(">i", len(configs or {}))
        for key, value in (configs or {}).items():
            body += string(key) + string(str(value))
        reader = self.call(CREATE_TOPICS, 2, body + struct.pack(">ib", 30_000, 0))
        reader.i32(), reader.i32(), reader.string()
        code = reader.i16()
        if code:
            raise ErrorCode(code, f"create {name}: {reader.string()}")
        self.await_leaders(name, len(assignment) or partitions, wait)

    def delete_topic(self, name):
        reader = self.call(DELETE_TOPICS, 1, struct.pack(">i", 1) + string(name) + struct.pack(">i", 30_000))
        reader.i32(), reader.i32(), reader.string()
        code = reader.i16()
        if code:
            raise ErrorCode(code, f"delete {name}")

    def alter_replica_log_dirs(self, path, topic, partitions):
        """{partition: error}."""
        body = struct.pack(">i", 1) + string(path) + struct.pack(">i", 1) + string(topic)
        body += struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
        reader = self.call(ALTER_REPLICA_LOG_DIRS, 1, body)
        reader.i32(), reader.i32(), reader.string()
        return {reader.i32(): reader.i16() for _ in range(reader.i32())}

    def await_leaders(self, name, partitions=1, wait=30):
        deadline = time.time() + wait
        while True:
            error, found = self.metadata([name])[1][name]
            if not error and sum(1 for e, leader in found.values() if not e and leader >= 0) >= partitions:
                return
            if time.time() > deadline:
                raise TimeoutError(f"{name} has no leaders: {error} {found}")
            time.sleep(0.02)

    def produce_body(self, topic, partition_records, acks=-1, version=7, timeout_ms=30_000, transactional_id=None):
        body = string(transactional_id) if version >= 3 else b""
        body += struct.pack(">hii", acks, timeout_ms, 1) + string(topic) + struct.pack(">i", len(partition_records))
        for partition, records in partition_records:
            body += struct.pack(">ii", partition, len(records)) + records
        return body

    def produce_answer(self, reader, version=7):
        """{partition: (error, base offset)}."""
        out = {}
        for _ in range(reader.i32()):
            reader.string()
            for _ in range(reader.i32()):
                partition, code, offset = reader.i32(), reader.i16(), reader.i64()
                if version >= 2:
                    reader.i64()
                if version >= 5:
                    reader.i64()
                out[partition] = (code, offset)
        return out

    def produce(self, topic, records, partition=0, acks=-1, version=7, transactional_id=None):
        """Sends one batch and returns its base offset (None with acks 0)."""
        body = self.produce_body(topic, [(partition, records)], acks, version, transactional_id=transactional_id)
        if acks == 0:
            return self.send(PRODUCE, version, body) and None
        code, offset = self.produce_answer(self.call(PRODUCE, version, body), version)[partition]
        if code:
            raise ErrorCode(code, f"produce to {topic}-{partition}")
        return offset

    def fetch(self, topic, offset, partition=0, max_bytes=1 << 20, wait_ms=100, isolation=0, min_bytes=1):
        """(high watermark, log start, raw record bytes), by Fetch v5."""
        body = struct.pack(">iiiibi", -1, wait_ms, min_bytes, max_bytes, isolation, 1) + string(topic)
        body += struct.pack(">iiqqi", 1, partition, offset, -1, max_bytes)
        reader = self.call(FETCH, 5, body)
        reader.i32(), reader.i32(), reader.string(), reader.i32()
        reader.i32()
        code, high_watermark, _, log_start = reader.i16(), reader.i64(), reader.i64(), reader.i64()
        for _ in range(max(0, reader.i32())):
            reader.take(16)
        if code:
            raise ErrorCode(code, f"fetch {topic}-{partition} at {offset}")
        return high_watermark, log_start, reader.bytes() or b""

    def fetch_messages(self, topic, offset, version, partition=0, max_bytes=1 << 20):
        """The messages that a client gets which knows no higher version of Fetch than 0 (magic 0), 2 (magic 1)."""
        body = struct.pack(">iiii", -1, 100, 1, 1) + string(topic)
        body += struct.pack(">iiqi", 1, partition, offset, max_bytes)
        reader = self.call(FETCH, version, body)
        if version >= 1:
            reader.i32()
        reader.i32(), reader.string(), reader.i32(), reader.i32()
        code = reader.i16()
        if code:
            raise ErrorCode(code, f"fetch {topic}-{partition} at {offset}")
        reader.i64()
        return [one for one in messages(reader.bytes()) if one[0] >= offset]

    def list_offset(self, topic, timestamp=-1, partition=0):
        """(timestamp, offset): -1 log end, -2 log start, else the first record at or after the time."""
        body = struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, partition, timestamp)
        reader = self.call(LIST_OFFSETS, 1, body)
        reader.i32(), reader.string(), reader.i32(), reader.i32()
        code = reader.i16()
        if code:
            raise ErrorCode(code, f"list offsets of {topic}-{partition}")
        return reader.i64(), reader.i64()

    def delete_records(self, topic, offset, partition=0):
        body = struct.pack(">i", 1) + string(topic) + struct.pack(">iiqi", 1, partition, offset, 30_000)
        reader = self.call(DELETE_RECORDS, 0, body)
        reader.i32(), reader.i32(), reader.string(), reader.i32(), reader.i32()
        low_watermark, code = reader.i64(), reader.i16()
        if code:
            raise ErrorCode(code, f"delete records of {topic}-{partition}")
        return low_watermark

    def init_producer_id(self, transactional_id=None, wait=20):
        body = string(transactional_id) + struct.pack(">i", 60_000)

        def answered():
            reader = self.call(INIT_PRODUCER_ID, 1, body)
            reader.i32()
            return reader.i16(), (reader.i64(), reader.i16())

        return self._patiently(answered, "InitProducerId", wait)

    def find_coordinator(self, key, of_transactions=False, wait=30):
        """Waits until there is one for the group or transactional id, and says which broker it is."""
        body = string(key) + struct.pack(">b", of_transactions)

        def answered():
            reader = self.call(FIND_COORDINATOR, 1, body)
            reader.i32()
            code = reader.i16()
            reader.string()
            return code, reader.i32()

        return self._patiently(answered, f"FindCoordinator of {key}", wait)

    def add_partitions(self, transactional_id, producer, topic, partitions=(0,), wait=20):
        """Makes partitions part of the transaction; `producer` is (id, epoch)."""
        body = string(transactional_id) + struct.pack(">qhi", *producer, 1) + string(topic)
        body += struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)

        def answered():
            reader = self.call(ADD_PARTITIONS_TO_TXN, 0, body)
            reader.i32(), reader.i32(), reader.string(), reader.i32(), reader.i32()
            return reader.i16(), None

        self._patiently(answered, f"AddPartitionsToTxn of {topic}", wait)

    def end_transaction(self, transactional_id, producer, commit, wait=20):
        body = string(transactional_id) + struct.pack(">qh?", *producer, commit)

        def answered():
            reader = self.call(END_TXN, 0, body)
            reader.i32()
            return reader.i16(), None

        self._patiently(answered, f"EndTxn of {transactional_id}", wait)

    def commit_offsets(self, group, offsets, wait=20):
        """Of no member: `offsets` are {(topic, partition): offset}."""
        body = string(group) + struct.pack(">i", -1) + string("") + struct.pack(">qi", -1, len(offsets))
        for (topic, partition), offset in offsets.items():
            body += string(topic) + struct.pack(">iiq", 1, partition, offset) + string("")

        def answered():
            reader, codes = self.call(OFFSET_COMMIT, 2, body), []
            for _ in range(reader.i32()):
                reader.string()
                for _ in range(reader.i32()):
                    reader.i32()
                    codes.append(reader.i16())
            return next(filter(None, codes), 0), None

        self._patiently(answered, f"commit of {group}", wait)

    def committed(self, group, topic, partitions):
        """{partition: offset} as OffsetFetch says, -1 where there is none; None while the group is being loaded."""
        body = string(group) + struct.pack(">i", 1) + string(topic)
        reader = self.call(OFFSET_FETCH, 1, body + struct.pack(f">i{partitions}i", partitions, *range(partitions)))
        reader.i32(), reader.string()
        found = {}
        for _ in range(reader.i32()):
            partition, offset = reader.i32(), reader.i64()
            reader.string()
            if reader.i16():
                return None
            found[partition] = offset
        return found

    def group_members(self, group):
        """(state, {member id: group.instance.id or None}) of a group."""
        reader = self.call(DESCRIBE_GROUPS, 4, struct.pack(">i", 1) + string(group) + b"\0")
        reader.i32(), reader.i32()
        code = reader.i16()
        if code:
            raise ErrorCode(code, f"describe {group}")
        reader.string()
        state, members = reader.string(), {}
        reader.string(), reader.string()
        for _ in range(reader.i32()):
            member, instance = reader.string(), reader.string()
            reader.string(), reader.string(), reader.bytes(), reader.bytes()
            members[member] = instance
        return state, members

    def set_topic_configs(self, topic, configs):
        """The topic's configuration is this from now on, and nothing else."""
        body = struct.pack(">ib", 1, 2) + string(topic) + struct.pack(">i", len(configs))
        body += b"".join(string(key) + string(str(value)) for key, value in configs.items()) + b"\0"
        reader = self.call(ALTER_CONFIGS, 0, body)
        reader.i32(), reader.i32()
        code = reader.i16()
        if code:
            raise ErrorCode(code, f"configuration of {topic}: {reader.string()}")

    def topic_config(self, topic, key):
        """The value of one config of a topic, as DescribeConfigs says."""
        body = struct.pack(">ib", 1, 2) + string(topic) + struct.pack(">i", 1) + string(key)
        reader = self.call(DESCRIBE_CONFIGS, 0, body)
        reader.i32(), reader.i32()
        code, message = reader.i16(), reader.string()
        if code:
            raise ErrorCode(code, f"configuration of {topic}: {message}")
        reader.i8(), reader.string()
        return next((reader.string() for _ in range(reader.i32()) if reader.string() == key), None)

    @staticmethod
    def _patiently(answered, what, wait):
        """Asks again while there is an error: a coordinator may be loading, or the last transaction not ended yet."""
        deadline = time.time() + wait
        while True:
            code, value = answered()
            if not code:
                return value
            if time.time() > deadline:
                raise ErrorCode(code, what)
            time.sleep(0.1)

    def read_all(self, topic, partition=0, isolation=0):
        """All records from the log start to the log end: (offset, timestamp, key, value, headers)."""
        offset, end = self.list_offset(topic, -2, partition)[1], self.list_offset(topic, -1, partition)[1]
        out = []
        while offset < end:
            data = self.fetch(topic, offset, partition, isolation=isolation, max_bytes=4 << 20)[2]
            before = offset
            for one in batches(data):
                if not one.is_control:
                    out += [r for r in one.records() if r[0] >= before]
                offset = one.last_offset + 1
            if offset == before:
                raise ValueError(f"{topic}-{partition}: nothing at {offset}, log end {end}")
        return out
