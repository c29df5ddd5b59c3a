"""Plays scenarios against a broker. What was answered is a list of (label, run, value): a normalised answer, or a word for
what came instead of one."""

import socket
import struct
import time

from harness import wire

from . import values, variations
from .normalise import MARK, Normaliser

PATIENCE_S = 60
# How long an answer is waited for that may never come.
SILENCE_S = 4
# Errors that go away: a coordinator that is loading, a leader that the broker does not know of yet, a topic that is there until
# it is deleted.
PASSING = (3, 5, 6, 9, 14, 15, 16, 36, 41, 100)
CLOSED, SILENT = "closed", "no answer"


class Broken(Exception):
    """The scenario cannot go on: its preparation failed."""


class Line:
    """A connection of a scenario."""

    def __init__(self, bootstrap):
        self.bootstrap, self.connection, self.waiting = bootstrap, None, []

    def send(self, api, version, body):
        if self.connection is None:
            self.connection = wire.Connection(self.bootstrap, PATIENCE_S)
        connection = self.connection
        connection.correlation_id += 1
        number = connection.correlation_id
        try:
            connection.send_raw(api.frame(version, number, body))
        except OSError:
            pass  # closed; the answer will show it
        self.waiting.append((api, version, number))

    def _frame(self):
        length = struct.unpack(">i", self.connection._exactly(4))[0]
        return self.connection._exactly(length)

    def receive(self, patience=PATIENCE_S):
        api, version, number = self.waiting.pop(0)
        self.connection.socket.settimeout(patience)
        try:
            frame = self._frame()
        except socket.timeout:
            self.close()
            return SILENT
        except OSError:
            self.close()
            return CLOSED
        correlation_id, value = api.read(version, frame)
        if correlation_id != number:
            raise ValueError(f"{api.name} version {version}: correlation id {correlation_id}, sent {number}")
        return value

    def silence(self, probe):
        """What follows a request that is answered when it fails only: one that is, behind it, tells."""
        probed = self.connection.correlation_id + 1
        self.connection.correlation_id = probed
        try:
            self.connection.send_raw(probe.frame(0, probed, {}))
            api, version, number = self.waiting.pop(0)
            frame = self._frame()
            if struct.unpack_from(">i", frame)[0] == probed:
                return SILENT
            self._frame()
            return api.read(version, frame)[1]
        except OSError:
            self.close()
            return CLOSED

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection, self.waiting = None, []


class Run:
    """One run of a scenario: the versions that its APIs have in it, its names, its connections."""

    def __init__(self, player, scenario, number, versions, variant=None):
        self.player, self.scenario, self.number, self.versions, self.variant = player, scenario, number, versions, variant
        words = [MARK.rstrip("-"), scenario.name, str(number)] + ([variant] if variant else [])
        self.prefix = "".join(c if c.isalnum() or c == "-" else "-" for c in "-".join(words))[:200] + "-"
        hidden = [word for one in scenario.statements if one.word == "hide" for word in one.words]
        self.normaliser = Normaliser(self.prefix, player.port, hidden)
        self.variables = {"folder": player.folder}
        self.lines, self.last, self.answers, self.count = {}, None, [], {}

    def fill(self, value):
        """The value with its variables: `$t` alone is what is kept as t, else a name of this run."""
        if isinstance(value, dict):
            if "text" in value:
                return self.fill(value["text"]) * value["times"]
            if "like" in value:
                return [self._numbered(value["like"], number) for number in range(value["times"])]
            return {self.fill(name): self.fill(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.fill(one) for one in value]
        if isinstance(value, str) and value.startswith("$"):
            return self.variables.get(value[1:], self.prefix + value[1:])
        return value

    def _numbered(self, value, number):
        self.variables["n"] = number
        return self.fill(value)

    def line(self, name):
        if name not in self.lines:
            self.lines[name] = Line(self.player.bootstrap)
        return self.lines[name]

    def version(self, statement):
        if statement.version is not None:
            return statement.version
        if statement.api not in self.versions:
            raise Broken(f"{statement.place}: no version for {statement.api}")
        return self.versions[statement.api]

    def exchange(self, line, api, version, body):
        line.send(api, version, body)
        if api.name == "Produce" and body.get("Acks", 0) == 0:
            return line.silence(self.player.apis["ApiVersions"])
        may_be_silent = api.name == "Produce" and "null" in values.render(body)
        return line.receive(SILENCE_S if may_be_silent else self.player.patience_s)

    def note(self, statement, answer, variation=""):
        self.last = answer
        after = f" after {self.variant}" if self.variant else ""
        key = f"{statement.api} {variation}" if variation else statement.api + after
        self.count[key] = self.count.get(key, 0) + 1
        label = key if self.count[key] == 1 else f"{key} #{self.count[key]}"
        shown = self.normaliser.answer(answer) if isinstance(answer, dict) else answer
        self.answers.append((label, statement.api, self.version(statement), shown))

    # Statements

    def play(self):
        try:
            for at, statement in enumerate(self.scenario.statements):
                following = self.scenario.statements[at + 1 :]
                getattr(self, f"_{statement.word}")(statement, following)
        finally:
            for line in self.lines.values():
                line.close()
        return self.answers

    def _skipped(self, statement):
        number = self.versions.get(statement.api, self.number)
        return number not in statement.versions

    def _ask(self, statement, _):
        if not self._skipped(statement):
            api, version = self.player.apis[statement.api], self.version(statement)
            self.note(statement, self.exchange(self.line(statement.on), api, version, self.fill(statement.body)))

    def _send(self, statement, _):
        if not self._skipped(statement):
            line = self.line(statement.on)
            line.send(self.player.apis[statement.api], self.version(statement), self.fill(statement.body))
            line.statements = [*getattr(line, "statements", []), statement]

    def _await(self, statement, _):
        """`await b`: the answer to what was sent first on b."""
        line = self.line(statement.words[0])
        if line.waiting:
            self.note(line.statements.pop(0), line.receive(self.player.patience_s))

    def _do(self, statement, following):
        """Preparation: is not compared; errors that pass are waited for, others end the scenario."""
        if self._skipped(statement):
            return
        wanted = [one.words for one in following[:1] if one.word == "until"]
        deadline = time.time() + PATIENCE_S
        api, version = self.player.apis[statement.api], self.version(statement)
        while True:
            answer = self.exchange(self.line(statement.on), api, version, self.fill(statement.body))
            codes = _codes(answer) if isinstance(answer, dict) else [answer]
            met = all(str(_or_none(answer, path)) == value for path, value in (word.split("=") for words in wanted for word in words))
            if not any(codes) and met:
                break
            passing = all(code in (0, *PASSING) for code in codes)
            if not passing or time.time() > deadline:
                raise Broken(f"{statement.place}: {statement.api} version {version}: {answer}")
            time.sleep(0.01)
        self.last = answer

    def _until(self, statement, _):
        pass

    def _keep(self, statement, _):
        """`keep member MemberId`: of the last answer."""
        name, path = statement.words
        self.variables[name] = _or_none(self.last, path)
        self.normaliser.keep(name, self.variables[name])

    def _set(self, statement, _):
        """`set name {value}`"""
        self.variables[statement.words[0]] = self.fill(statement.body)

    def _topic(self, statement, _):
        """`topic $t 2 cleanup.policy=compact`: created, led, and its id kept as t_id."""
        name, *rest = statement.words
        partitions = int(rest[0]) if rest and rest[0].isdigit() else 1
        configs = [dict(zip(("Name", "Value"), word.split("=", 1))) for word in rest if "=" in word]
        topic = {"Name": self.fill(name), "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": configs}
        self._do(_prepared("CreateTopics", 5, {"Topics": [topic], "timeoutMs": 30000}, statement), [])
        named = {"Topics": [{"Name": topic["Name"]}], "AllowAutoTopicCreation": False}
        deadline = time.time() + PATIENCE_S
        while True:
            self._do(_prepared("Metadata", 12, named, statement), [])
            found = self.last["Topics"][0]
            led = [one for one in found["Partitions"] if one["LeaderId"] >= 0]
            if len(led) == partitions:
                break
            if time.time() > deadline:
                raise Broken(f"{statement.place}: {name} is not led: {found}")
            time.sleep(0.01)
        # Known is not yet led: a KRaft broker shows a topic before it has become its leader.
        wanted = [{"PartitionIndex": number, "Timestamp": -1} for number in range(partitions)]
        body = {"ReplicaId": -1, "Topics": [{"Name": topic["Name"], "Partitions": wanted}]}
        self._do(_prepared("ListOffsets", 5, body, statement), [])
        self.variables[name[1:] + "_id"] = found["TopicId"]
        self.normaliser.keep(name[1:] + "_id", found["TopicId"])

    def _records(self, statement, _):
        """`records $t 0 a b c`: one batch, by Produce of version 9."""
        topic, partition, *contents = statement.words
        data = {"Index": int(partition), "Records": {"batch": contents}}
        body = {"Acks": -1, "TimeoutMs": 30000, "TopicData": [{"Name": topic, "PartitionData": [data]}]}
        self._do(_prepared("Produce", 9, body, statement), [])

    def _close(self, statement, _):
        self.line(statement.words[0]).close()

    def _sleep(self, statement, _):
        time.sleep(int(statement.words[0]) / 1000)

    def _without(self, statement, _):
        """`without NAME=max: why`: a variation that is left out."""

    def _hide(self, statement, _):
        """`hide PartitionSize`: what such a field has is another each time."""

    def _vary(self, statement, following):
        """Each variation of the request. When it is `fresh` this run is for one of them."""
        if self._skipped(statement):
            return
        for name, body in self.player.variations(self.scenario, statement, self.version(statement)):
            if self.variant in (None, name):
                api = self.player.apis[statement.api]
                answer = self.exchange(self.line(statement.on), api, self.version(statement), self.fill(body))
                self.note(statement, answer, name)


def _prepared(api, version, body, statement):
    """A statement that another stands for."""

    class Prepared:
        pass

    one = Prepared()
    one.api, one.version, one.body, one.on, one.place = api, version, body, "main", statement.place
    one.versions = range(0, 1000)
    return one


def _codes(value):
    """All error codes in an answer."""
    if isinstance(value, list):
        return [code for one in value for code in _codes(one)]
    if not isinstance(value, dict):
        return []
    own = [one for name, one in value.items() if name == "ErrorCode"]
    return own + [code for one in value.values() for code in _codes(one)]


def _or_none(value, path):
    try:
        return values.at(value, path)
    except (KeyError, IndexError, TypeError):
        return None


class Player:
    """`folder` is one of the broker's log directories; `patience_s`, how long an answer is waited for."""

    def __init__(self, apis, bootstrap, folder, patience_s):
        self.apis, self.bootstrap, self.folder, self.patience_s = apis, bootstrap, folder, patience_s
        self.port = int(bootstrap.rsplit(":", 1)[1])

    @staticmethod
    def excluded(scenario):
        """{variation: why} of `without NAME: why`."""
        found = {}
        for one in scenario.statements:
            if one.word == "without":
                name, *why = one.words
                found[name.rstrip(":")] = " ".join(why)
        return found

    def variations(self, scenario, statement, version):
        without = self.excluded(scenario)
        message = self.apis[statement.api].request
        return [pair for pair in variations.variations(message, statement.body, version) if pair[0] not in without]

    def play(self, scenario, number, versions):
        """The answers of one run; of a scenario that varies `fresh`, of a run for each variation."""
        if not scenario.is_fresh:
            return Run(self, scenario, number, versions).play()
        answers = []
        statement = next(one for one in scenario.statements if one.word == "vary")
        if versions[statement.api] in statement.versions:
            for name, _ in self.variations(scenario, statement, versions[statement.api]):
                answers += Run(self, scenario, number, versions, name).play()
        return answers
