"""How requests and answers are written: JSON, in which words need no quotes. `{Topics: [{Name: $t, ErrorCode: 3}]}`"""

import json
import re

_TOKEN = re.compile(r'\s*(?:([{}\[\]:,])|("(?:[^"\\]|\\.)*")|([^\s{}\[\]:,"]+))')
_PLAIN = re.compile(r"[A-Za-z$_<][\w$.<>/*=-]*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None}


class Parser:
    def __init__(self, text):
        self.text, self.at = text, 0

    def _next(self, take=True):
        match = _TOKEN.match(self.text, self.at)
        if not match:
            raise ValueError(f"a value ends early: {self.text[self.at - 60 :]!r}")
        if take:
            self.at = match.end()
        return match.groups()

    def _expect(self, sign):
        found = self._next()
        if found[0] != sign:
            raise ValueError(f"{sign} expected before {self.text[self.at : self.at + 40]!r} in {self.text!r}")

    def _items(self, end, item):
        while self._next(False)[0] != end:
            item()
            if self._next(False)[0] == ",":
                self._next()
        self._next()

    def value(self):
        sign, quoted, word = self._next()
        if quoted:
            return json.loads(quoted)
        if word is not None:
            if word in _WORDS:
                return _WORDS[word]
            if _NUMBER.fullmatch(word):
                return json.loads(word)
            return word
        if sign == "[":
            out = []
            self._items("]", lambda: out.append(self.value()))
            return out
        if sign != "{":
            raise ValueError(f"no value before {self.text[self.at : self.at + 40]!r} in {self.text!r}")
        out = {}

        def pair():
            name = self.value()
            self._expect(":")
            out[name] = self.value()

        self._items("}", pair)
        return out


def parse(text):
    parser = Parser(text)
    value = parser.value()
    if text[parser.at :].strip():
        raise ValueError(f"something behind the value: {text[parser.at :]!r}")
    return value


def render(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_word(name)}: {render(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(render, value)) + "]"
    return _word(value) if isinstance(value, str) else json.dumps(value)


def _word(text):
    return text if _PLAIN.fullmatch(text) and text not in _WORDS else json.dumps(text)


def at(value, path):
    """What stands at `Topics.0.Name`."""
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value
