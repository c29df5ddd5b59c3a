"""Which Kafka is asked for a version: 3.9.2 where it serves it, else 4.2.0. What both advertise is recorded too."""

import json
import os

from .answers import FOLDER, NEW, OLD

PATH = os.path.join(FOLDER, "advertised.json")


def write(advertised):
    lines = []
    for release, apis in advertised.items():
        rows = ",\n".join(f'    "{name}": {json.dumps(span)}' for name, span in sorted(apis.items()))
        lines.append(f'  "{release}": {{\n{rows}\n  }}')
    with open(PATH, "w") as out:
        out.write("{\n" + ",\n".join(lines) + "\n}\n")


def read():
    with open(PATH) as source:
        return json.load(source)


def _serves(apis, versions):
    return all(name in apis and apis[name][0] <= version <= apis[name][1] for name, version in versions.items())


def compared(advertised, release, answers):
    """Of a run's answers those that `release` is asked for: what 3.9.2 serves is not compared with 4.2.0."""
    if release == OLD:
        return answers
    return [one for one in answers if not _serves(advertised[OLD], {one[1]: one[2]})]


def of(advertised, scenario, versions):
    for release in (OLD, NEW):
        if _serves(advertised[release], versions):
            return release
    raise ValueError(f"{scenario.place}: neither release serves {versions}")
