"""The scenarios: what stands in scenarios/*.txt, one statement a line (see README.md)."""

import os
import re

from . import values
from .definitions import CORPUS

FOLDER = os.path.join(CORPUS, "scenarios")
_RANGE = re.compile(r"\d+(-\d*)?|-\d+")


class Range:
    """Versions: `3`, `3-5`, `3-`, `-5`."""

    def __init__(self, text=None):
        self.text = text
        first, dash, last = (text or "-").partition("-")
        self.first = int(first or 0)
        self.last = int(last) if last else 999 if dash else self.first

    def __contains__(self, version):
        return self.first <= version <= self.last


class Statement:
    """One line: its word, its other words, and the value at its end."""

    def __init__(self, line, place):
        self.place = place
        head, value = re.match(r"([^{]*)(\{.*)?$", line, re.S).groups()
        self.word, *self.words = head.split()
        self.body = values.parse(value) if value else {}
        self.versions, self.version, self.api, self.on, self.name = Range(), None, None, "main", None
        if self.word in ("ask", "do", "send", "vary", "each"):
            self._request()

    def _request(self):
        for word in self.words:
            if word.endswith(":"):
                self.on = word[:-1]
            elif _RANGE.fullmatch(word):
                self.versions = Range(word)
            elif word != "fresh":
                self.api, _, version = word.partition("@")
                self.version = int(version) if version else None


class Scenario:
    def __init__(self, name, place):
        self.name, self.place, self.about, self.locked, self.statements = name, place, "", [], []

    def runs(self, apis):
        """(number, {api: version}): the APIs go through their versions side by side; one that has fewer stays at its
        last. What another release begins at is not asked below it."""
        if not self.locked:
            return [(0, {})]
        spans = {}
        for name, span in self.locked:
            api = apis[name]
            spans[name] = max(api.lowest, span.first), min(api.highest, span.last)
        first, last = min(one for one, _ in spans.values()), max(one for _, one in spans.values())
        return [
            (number, {name: min(max(number, low), high) for name, (low, high) in spans.items()})
            for number in range(first, last + 1)
        ]

    @property
    def is_fresh(self):
        return any(statement.word == "vary" and "fresh" in statement.words for statement in self.statements)


def _lines(path):
    """(number, line) of the statements; a value may go on over lines until its brackets are closed."""
    with open(path) as source:
        pending, begun = "", 0
        for number, line in enumerate(source, 1):
            line = line.strip()
            if not pending and (not line or line.startswith("#")):
                continue
            begun = begun if pending else number
            pending = f"{pending} {line}" if pending else line
            bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", pending)
            if sum(map(bare.count, "{[")) == sum(map(bare.count, "}]")):
                yield begun, pending
                pending = ""
        if pending:
            raise ValueError(f"{path}:{begun}: brackets that are not closed")


def read(path):
    name = os.path.basename(path)
    found = []
    for number, line in _lines(path):
        place = f"{name}:{number}"
        word, _, rest = line.partition(" ")
        if word == "scenario":
            found.append(Scenario(rest.strip(), place))
            continue
        if not found:
            raise ValueError(f"{place}: a statement before the first scenario")
        if word == "about":
            found[-1].about = f"{found[-1].about} {rest}".strip()
        elif word == "versions":
            for one in rest.split(","):
                api, *span = one.split()
                found[-1].locked.append((api, Range(*span)))
        else:
            try:
                found[-1].statements.append(Statement(line, place))
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from error
    return found


def read_all():
    """{file: [scenario]}"""
    files, names = {}, {}
    for file in sorted(os.listdir(FOLDER)):
        files[file] = read(os.path.join(FOLDER, file))
        for one in files[file]:
            if one.name in names:
                raise ValueError(f"{one.place}: {one.name} is also at {names[one.name]}")
            names[one.name] = one.place
    return files
