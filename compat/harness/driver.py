"""The loop of the drivers that are written in Python: see compat/clients/README.md. A driver is an object whose methods
have the commands' names and take their fields; they give what stands behind "ok", with bytes as bytes."""

import base64
import json
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

# Kafka's names of the codes that scenarios ask for.
ERRORS = {
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    10: "MESSAGE_TOO_LARGE",
    36: "TOPIC_ALREADY_EXISTS",
    37: "INVALID_PARTITIONS",
    40: "INVALID_CONFIG",
    68: "NON_EMPTY_GROUP",
    69: "GROUP_ID_NOT_FOUND",
}


class Refused(Exception):
    """The answer is this error."""

    def __init__(self, name, text):
        super().__init__(text)
        self.name = name


def unsupported(what):
    return Refused("UNSUPPORTED", what)


def _unpacked(data):
    return None if data is None else base64.b64decode(data)


def _packed(data):
    return None if data is None else base64.b64encode(data).decode()


def _each(record, change):
    """The record with its bytes changed."""
    changed = {name: change(record[name]) for name in ("key", "value") if name in record}
    if record.get("headers") is not None:
        changed["headers"] = [[name, change(value)] for name, value in record["headers"]]
    return {**record, **changed}


def serve(driver):
    """Until the end of the input. Commands run side by side, each in a thread of its own."""
    printing = threading.Lock()

    def answered(command):
        number, name = command.pop("id"), command.pop("do")
        try:
            method = getattr(driver, name, None)
            if method is None:
                raise unsupported(f"{name} is not a command of this driver")
            if name == "produce":
                command["records"] = [_each(record, _unpacked) for record in command["records"]]
            ok = method(**command) or {}
            if name == "poll":
                ok["records"] = [_each(record, _packed) for record in ok["records"]]
            answer = json.dumps({"id": number, "ok": ok})
        except Refused as refused:
            answer = json.dumps({"id": number, "error": refused.name, "text": str(refused)})
        except Exception as error:
            traceback.print_exc()
            answer = json.dumps({"id": number, "error": type(error).__name__, "text": str(error)})
        with printing:
            print(answer, flush=True)

    threads = ThreadPoolExecutor(200)
    for line in sys.stdin:
        threads.submit(answered, json.loads(line))
    # Not after what is still under way: nobody waits for it.
    os._exit(0)
