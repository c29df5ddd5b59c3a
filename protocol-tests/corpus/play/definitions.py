"""Kafka's messages by their definitions (definitions.jsonl): values with the names of Kafka's fields to bytes, and back.

It shares nothing with src/wire but the definitions, so that a fault of one codec shows. A field that is left out has its
default; one that the version lacks is not sent, so that one request serves many versions; a name that no version has is an
error of the corpus."""

import json
import os
import struct
import uuid

from harness import wire

from . import records

CORPUS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FORMATS = {
    "int8": ">b",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "float64": ">d",
}
ZERO_ID = "00000000-0000-0000-0000-000000000000"


class Field:
    def __init__(self, raw):
        self.name, self.type = raw["name"], raw["type"]
        self.first, self.last = raw["versions"]
        self.null = raw.get("null")
        self.tag = raw.get("tag")
        self.raw_default = raw.get("default")
        self.is_array = self.type.startswith("[]")
        self.element = self.type.removeprefix("[]")

    def is_in(self, version):
        return self.first <= version <= self.last

    def is_nullable_in(self, version):
        return self.null is not None and self.null[0] <= version <= self.null[1]

    @property
    def is_struct(self):
        return self.element not in FORMATS and self.element not in ("bool", "uuid", "string", "bytes", "records")

    def default(self, message):
        raw = self.raw_default
        if raw == "null":
            return None
        if self.is_array:
            return []
        if self.is_struct:
            return {}
        if self.type == "bool":
            return str(raw).lower() == "true"
        if self.type == "uuid":
            return ZERO_ID
        if self.type == "float64":
            return float(raw or 0)
        if self.type in FORMATS:
            return int(str(raw or "0"), 0)
        return raw or ""


class Message:
    """A request or an answer: its structures by name, and the first version with compact lengths and tags."""

    def __init__(self, name, flexible_from):
        self.name, self.flexible_from, self.structs = name, flexible_from, {}

    def is_flexible(self, version):
        return self.flexible_from is not None and version >= self.flexible_from

    # To bytes

    def encode(self, value, version):
        return self._encode_struct(self.name, value, version, self.is_flexible(version))

    def _encode_struct(self, name, value, version, flexible):
        fields = self.structs[name]
        unknown = set(value) - {field.name for field in fields}
        if unknown:
            raise ValueError(f"{self.name}: {name} has no {sorted(unknown)}")
        out, tagged = b"", []
        for field in fields:
            if not field.is_in(version):
                continue
            one = value[field.name] if field.name in value else field.default(self)
            if field.tag is None:
                out += self._encode_field(field, one, version, flexible)
            elif field.name in value and one != field.default(self):
                tagged.append((field.tag, self._encode_field(field, one, version, flexible)))
        if flexible:
            out += wire.uvarint(len(tagged))
            for tag, content in sorted(tagged):
                out += wire.uvarint(tag) + wire.uvarint(len(content)) + content
        return out

    def _encode_field(self, field, value, version, flexible):
        if field.is_array:
            if value is None:
                return b"\0" if flexible else b"\xff\xff\xff\xff"
            length = wire.uvarint(len(value) + 1) if flexible else struct.pack(">i", len(value))
            return length + b"".join(self._encode_one(field, one, version, flexible) for one in value)
        if field.is_struct and field.null is not None:
            if value is None:
                return b"\xff"
            return b"\x01" + self._encode_one(field, value, version, flexible)
        return self._encode_one(field, value, version, flexible)

    def _encode_one(self, field, value, version, flexible):
        kind = field.element
        try:
            if kind in FORMATS:
                return struct.pack(FORMATS[kind], value)
            if kind == "bool":
                return b"\1" if value else b"\0"
            if kind == "uuid":
                return uuid.UUID(value).bytes
        except (struct.error, ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{self.name}.{field.name}: {value!r} is no {kind}: {error}") from error
        if field.is_struct:
            return self._encode_struct(kind, value, version, flexible)
        return _encode_bytes(kind, value, flexible)

    # From bytes

    def decode(self, data, version):
        reader = wire.Reader(data)
        value = self._decode_struct(self.name, reader, version, self.is_flexible(version))
        if reader.left():
            raise ValueError(f"{self.name} version {version}: {reader.left()} bytes behind the answer")
        return value

    def _decode_struct(self, name, reader, version, flexible):
        value, tagged = {}, {}
        for field in self.structs[name]:
            if field.is_in(version):
                if field.tag is None:
                    value[field.name] = self._decode_field(field, reader, version, flexible)
                else:
                    tagged[field.tag] = field
        for _ in range(reader.uvarint() if flexible else 0):
            tag, length = reader.uvarint(), reader.uvarint()
            inside = wire.Reader(reader.take(length))
            if tag in tagged:
                field = tagged[tag]
                value[field.name] = self._decode_field(field, inside, version, flexible)
            else:
                value[f"unknown tag {tag}"] = inside.take(length).hex()
            if inside.left():
                raise ValueError(f"{self.name} version {version}: {inside.left()} bytes behind tag {tag}")
        return value

    def _decode_field(self, field, reader, version, flexible):
        if field.is_array:
            count = reader.uvarint() - 1 if flexible else reader.i32()
            return None if count < 0 else [self._decode_one(field, reader, version, flexible) for _ in range(count)]
        if field.is_struct and field.null is not None and reader.i8() < 0:
            return None
        return self._decode_one(field, reader, version, flexible)

    def _decode_one(self, field, reader, version, flexible):
        kind = field.element
        if kind in FORMATS:
            return reader._unpack(FORMATS[kind], struct.calcsize(FORMATS[kind]))
        if kind == "bool":
            byte = reader.i8()
            if byte not in (0, 1):
                raise ValueError(f"{self.name}.{field.name}: {byte} is no bool")
            return byte == 1
        if kind == "uuid":
            return str(uuid.UUID(bytes=bytes(reader.take(16))))
        if field.is_struct:
            return self._decode_struct(kind, reader, version, flexible)
        return _decode_bytes(kind, reader, flexible)


def _encode_bytes(kind, value, flexible):
    if isinstance(value, str):
        value = value.encode()
    elif value is not None:
        value = records.to_bytes(value)
    if flexible:
        return b"\0" if value is None else wire.uvarint(len(value) + 1) + value
    form = ">h" if kind == "string" else ">i"
    return struct.pack(form, -1) if value is None else struct.pack(form, len(value)) + value


def _decode_bytes(kind, reader, flexible):
    length = reader.uvarint() - 1 if flexible else reader.i16() if kind == "string" else reader.i32()
    if length < 0:
        return None
    content = reader.take(length)
    if kind == "records":
        return records.to_value(content)
    if kind == "bytes":
        return records.shown(content)
    return content.decode()


class Api:
    def __init__(self, raw):
        self.name, self.key = raw["api"], raw["key"]
        self.lowest, self.highest = raw["versions"]
        self.request = Message(f"{self.name}Request", raw["flexible_from"])
        self.answer = Message(f"{self.name}Response", raw["flexible_from"])

    def frame(self, version, correlation_id, value):
        """A whole request, without its length."""
        header = struct.pack(">hhi", self.key, version, correlation_id) + wire.string("corpus")
        if self.request.is_flexible(version):
            header += b"\0"
        return header + self.request.encode(value, version)

    def read(self, version, frame):
        """(correlation id, value) of an answer. ApiVersions has the old header always, and is answered in version 0 where the
        broker does not know the version (KIP-511)."""
        reader = wire.Reader(frame)
        correlation_id = reader.i32()
        if version > self.highest:
            version = 0
        if self.answer.is_flexible(version) and self.name != "ApiVersions":
            if reader.uvarint():
                raise ValueError(f"{self.name} version {version}: tags in the header of the answer")
        return correlation_id, self.answer.decode(frame[reader.at :], version)


def load():
    """The APIs by name."""
    apis, messages = {}, {}
    with open(os.path.join(CORPUS, "definitions.jsonl")) as source:
        for line in source:
            raw = json.loads(line)
            if "api" in raw:
                api = apis[raw["api"]] = Api(raw)
                messages[api.request.name], messages[api.answer.name] = api.request, api.answer
            else:
                messages[raw["message"]].structs[raw["struct"]] = [Field(field) for field in raw["fields"]]
    return apis
