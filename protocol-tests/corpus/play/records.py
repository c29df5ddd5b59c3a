"""Record batches and other bytes as values of the corpus.

In requests bytes are a text (UTF-8) or an object:
    {"batch": ["a", ["key", "value"]], "codec": "gzip", "producer": [7, 0, 3], "times": [1000], "attributes": 16}
    {"messages": ["a"], "magic": 1}       a message set of old
    {"hex": "00ff"}, {"join": [one, other]}, {"patch": one, "at": 16, "hex": "02"} (no checksum is mended)
    {"patch": one, "at": 72, "hex": "04", "codec": "gzip"}    a batch, or a message of old, with a checksum that fits again
    {"subscription": ["topic"]}, {"assignment": {"topic": [0]}}    of the consumers' protocol, version 0
In answers records are a list of batches, and other bytes a text, as hexadecimal digits where they are none."""

import struct
import zlib

from harness import wire

TIME = 1_600_000_000_000
# What a batch has before its records.
HEADER = 61


def to_bytes(value):
    if isinstance(value, str):
        return value.encode()
    if "hex" in value:
        if "patch" not in value:
            return bytes.fromhex(value["hex"])
        data, patch, at = bytearray(to_bytes(value["patch"])), bytes.fromhex(value["hex"]), value["at"]
        data[at : at + len(patch)] = patch
        return _closed(bytes(data), value["codec"]) if "codec" in value else bytes(data)
    if "join" in value:
        return b"".join(to_bytes(one) for one in value["join"])
    if "subscription" in value:
        topics = value["subscription"]
        return struct.pack(">hi", 0, len(topics)) + b"".join(map(wire.string, topics)) + struct.pack(">i", -1)
    if "assignment" in value:
        topics = value["assignment"]
        out = struct.pack(">hi", 0, len(topics))
        for topic, partitions in topics.items():
            out += wire.string(topic) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
        return out + struct.pack(">i", -1)
    pairs = [_pair(one) for one in value["batch" if "batch" in value else "messages"]]
    if "repeat" in value:
        pairs = [(key, content * value["repeat"]) for key, content in pairs]
    times = value.get("times") or [TIME + n for n in range(len(pairs))]
    if "messages" in value:
        return wire.message_set(value.get("magic", 1), pairs, value.get("codec", "none"), times)
    producer = tuple(value.get("producer", (-1, -1, -1)))
    epoch, base = value.get("leader_epoch", -1), value.get("base_offset", 0)
    return wire.batch(pairs, value.get("codec", "none"), producer, times, value.get("attributes", 0), base, epoch)


def _closed(data, codec):
    """One batch, its records compressed by `codec`, or one message of magic 0 or 1 (`none`), with its checksum."""
    if data[16] < 2:
        return data[:12] + struct.pack(">I", zlib.crc32(data[16:])) + data[16:]
    attributes = struct.unpack_from(">h", data, 21)[0] | wire.CODECS[codec]
    body = struct.pack(">h", attributes) + data[23:HEADER] + wire.compress(codec, data[HEADER:])
    return data[:8] + struct.pack(">i", 9 + len(body)) + data[12:17] + struct.pack(">I", wire.crc32c(body)) + body


def _pair(one):
    key, content = (None, one) if isinstance(one, str) or one is None else one
    return (None if key is None else key.encode(), None if content is None else content.encode())


def shown(data):
    """Bytes as a text, where they are one."""
    data = bytes(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "0x" + data.hex()
    return text if text.isprintable() else "0x" + data.hex()


def _text(data):
    return None if data is None else shown(data)


def to_value(data):
    """The records of an answer, batch by batch; what is torn at the end is told by its size."""
    data, out = bytes(data), []
    while data:
        size = 12 + struct.unpack_from(">i", data, 8)[0] if len(data) >= 17 else 0
        if size < 14 or size > len(data):
            out.append(f"{len(data)} bytes of a torn batch")
            break
        out.append(_batch(data[:size]) if data[16] == 2 else _message(data[:size]))
        data = data[size:]
    return out


def _message(data):
    found = wire.messages(data)
    value = {"magic": data[16], "attributes": data[17], "offset": struct.unpack_from(">q", data)[0]}
    value["messages"] = [[offset, time, _text(key), _text(content)] for offset, time, key, content in found]
    return value


def _batch(data):
    batch = wire.Batch(data)
    value = {"baseOffset": batch.base_offset, "lastOffsetDelta": batch.last_offset_delta}
    value["partitionLeaderEpoch"], value["attributes"] = batch.leader_epoch, batch.attributes
    value["baseTimestamp"], value["maxTimestamp"] = batch.base_timestamp, batch.max_timestamp
    value["ProducerId"], value["producerEpoch"] = batch.producer_id, batch.producer_epoch
    value["baseSequence"], value["checksum"] = batch.base_sequence, batch.crc_is_right()
    if batch.is_control:
        value["control"] = batch.payload().hex()
    else:
        found = batch.records()
        value["records"] = [[offset, time, _text(key), _text(content)] for offset, time, key, content, _ in found]
    return value
