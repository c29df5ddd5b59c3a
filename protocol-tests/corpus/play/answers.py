"""Recorded answers: answers/*.txt, one file for each of scenarios/. A line stands for all runs that were answered alike:
`0-4: {...}`; `@4.2.0` where that release was asked, else 3.9.2. `= LABEL` stands for what was answered there in the same run."""

import os
import re

from . import values
from .definitions import CORPUS

FOLDER = os.path.join(CORPUS, "answers")
OLD, NEW = "3.9.2", "4.2.0"
_RUNS = re.compile(r"    ([\d, -]+?)( @[\d.]+)?: (.*)")


class Recorded:
    """{scenario: {label: {run: (release, value)}}}"""

    def __init__(self):
        self.scenarios = {}

    def add(self, scenario, run, release, answers):
        labels = self.scenarios.setdefault(scenario, {})
        for label, _, _, value in answers:
            labels.setdefault(label, {})[run] = (release, value)

    def get(self, scenario, label, run):
        return self.scenarios.get(scenario, {}).get(label, {}).get(run)

    def labels(self, scenario, run):
        return [label for label, runs in self.scenarios.get(scenario, {}).items() if run in runs]

    def write(self, path):
        with open(path, "w") as out:
            for scenario, labels in self.scenarios.items():
                out.write(f"scenario {scenario}\n")
                first = {}
                for label, runs in labels.items():
                    out.write(f"  {label}\n")
                    for release, numbers, text in _grouped(label, runs, first):
                        mark = "" if release == OLD else f" @{release}"
                        out.write(f"    {numbers}{mark}: {text}\n")

    @classmethod
    def read(cls, path):
        recorded = cls()
        if not os.path.exists(path):
            return recorded
        name = scenario = label = None
        with open(path) as source:
            for line in source:
                line = line.rstrip("\n")
                if line.startswith("scenario "):
                    name = line.removeprefix("scenario ")
                    scenario = recorded.scenarios.setdefault(name, {})
                elif not line.startswith("   "):
                    label = scenario.setdefault(line.strip(), {})
                else:
                    runs, release, text = _RUNS.fullmatch(line).groups()
                    release = (release or f" @{OLD}")[2:]
                    for number in numbers(runs):
                        if text.startswith("= "):
                            label[number] = recorded.scenarios[name][text[2:]][number]
                        else:
                            label[number] = (release, values.parse(text))
        return recorded


def _grouped(label, runs, first):
    """`first`: under which label a run had a text first."""
    groups = []
    for number in sorted(runs):
        release, value = runs[number]
        text = values.render(value)
        before = first.setdefault((number, text), label)
        if before != label and len(text) > len(before) + 2:
            text = f"= {before}"
        for group in groups:
            if group[0] == release and group[2] == text:
                group[1].append(number)
                break
        else:
            groups.append((release, [number], text))
    return [(release, spans(numbers), text) for release, numbers, text in groups]


def spans(numbers):
    """`0-4, 7`"""
    runs = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def numbers(text):
    for span in text.split(", "):
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1)
