"""What may differ between two brokers and says nothing: ids that are drawn, times, ports, folders, texts of errors."""

import re
import time

from .definitions import ZERO_ID

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TEXTS = ("ErrorMessage", "BatchIndexErrorMessage", "Documentation", "QuorumErrorMessage")
_DRAWN = {"ProducerId": "producer", "SessionId": "session"}
_NAMES = ("Name", "TopicName", "Topic", "GroupId", "ResourceName")
# What all topics and groups of the corpus begin with.
MARK = "w-"
DAY_MS = 86_400_000


class Normaliser:
    """For one run of a scenario. Ids that the scenario keeps have their name there; others are numbered in each answer."""

    def __init__(self, prefix, port, hidden=()):
        self.prefix, self.port, self.hidden = prefix, port, hidden
        self.kept, self.seen = {}, {}
        now = int(time.time() * 1000)
        self.times = range(now - DAY_MS, now + 400 * DAY_MS)

    def keep(self, name, value):
        """From now on what is drawn in `value` is shown as `name`."""
        if isinstance(value, str):
            for found in _ID.findall(value):
                if found != ZERO_ID:
                    self.kept.setdefault(found, f"<{name}>")
        elif isinstance(value, int):
            self.kept.setdefault(value, f"<{name}>")

    def answer(self, value):
        self.seen = {}
        return self._value(value, "")

    def _drawn(self, kind, value):
        if value in self.kept:
            return self.kept[value]
        known = self.seen.setdefault(kind, {})
        return f"<{kind} {known.setdefault(value, len(known) + 1)}>"

    def _text(self, value):
        value = value.replace(self.prefix, "$")
        return _ID.sub(lambda found: found[0] if found[0] == ZERO_ID else self._drawn("id", found[0]), value)

    def _is_foreign(self, value):
        """Of another scenario, or of a coordinator that came by one; the group without a name belongs to all."""
        names = [value] if isinstance(value, str) else []
        if isinstance(value, dict):
            names = [value[name] for name in _NAMES if isinstance(value.get(name), str)]
            if "ProtocolType" in value and value.get("GroupId") == "":
                return True
        return any(
            name == "__transaction_state" or (name.startswith(MARK) and not name.startswith(self.prefix))
            for name in names
        )

    def _value(self, value, name):
        if name in self.hidden:
            return "<any>"
        if isinstance(value, dict):
            return {key: self._value(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self._value(one, name) for one in value if not self._is_foreign(one)]
        if isinstance(value, str):
            if name in _TEXTS:
                return "<text>" if value else ""
            if name == "ClusterId":
                return "<cluster>"
            if name in ("LogDir", "LogDirectory") and value.startswith("/"):
                return "<folder>"
            return self._text(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        return self._number(value, name)

    def _number(self, value, name):
        if name in _DRAWN and value >= (1 if name == "SessionId" else 0):
            return self._drawn(_DRAWN[name], value)
        if name == "Port" and value == self.port:
            return "<port>"
        if name in ("TotalBytes", "UsableBytes") and value > 0:
            return "<bytes>"
        return "<now>" if value in self.times else value
