"""The coverage table, protocol-tests/COVERAGE.md: for each API and version that we advertise, each nullable field null, each
array and text empty, numbers at their bounds, and each error code that Kafka's handler can answer with. A cell is a case of
the corpus, or a sentence that says why there is none; one that is neither is missing."""

import collections
import os
import re

from harness import places

from . import answers, player, releases, scenario, variations
from .answers import spans
from .definitions import CORPUS

PATH = os.path.join(places.ROOT, "protocol-tests", "COVERAGE.md")
ERROR_CODES = os.path.join(places.ROOT, "src", "base", "error_code.rs")
MISSING = "missing"


class Cases:
    """What the recorded answers show: {(api, version): {label or error code: scenario}}."""

    def __init__(self, apis):
        self.variations, self.codes, self.left_out = {}, {}, {}
        self.answers = 0
        for file, scenarios in scenario.read_all().items():
            recorded = answers.Recorded.read(os.path.join(answers.FOLDER, file))
            for one in scenarios:
                self._scenario(apis, one, recorded.scenarios.get(one.name, {}))

    def _scenario(self, apis, one, labels):
        runs = dict(one.runs(apis))
        fixed = {statement.api: statement.version for statement in one.statements if statement.version is not None}
        for statement in one.statements:
            if statement.word == "vary":
                for name, why in player.Player.excluded(one).items():
                    self.left_out[statement.api, name] = why
        for label, answered in labels.items():
            api, *rest = label.split()
            for run, (_, value) in answered.items():
                version = fixed.get(api) if api not in runs.get(run, {}) else runs[run][api]
                if version is None:
                    continue
                version = 0 if version > apis[api].highest else version
                self.answers += 1
                if rest and "=" in rest[0]:
                    self.variations.setdefault((api, version, rest[0]), one.name)
                if isinstance(value, dict):
                    for code in set(player._codes(value)) - {0}:
                        self.codes.setdefault((api, version, code), f"{one.name} ({label})")


class Error:
    def __init__(self, code, versions, why):
        self.code, self.versions, self.why = code, versions, why


def errors():
    """{api: [Error]} of errors.txt."""
    found, reasons, api = collections.OrderedDict(), {}, None
    with open(os.path.join(CORPUS, "errors.txt")) as source:
        for line in source:
            line = line.split("#")[0].rstrip()
            if not line.strip():
                continue
            if line.startswith("reason "):
                name, _, text = line.removeprefix("reason ").partition(": ")
                reasons["@" + name] = text
            elif not line.startswith(" "):
                api = found.setdefault(line, [])
            else:
                what, _, why = line.strip().partition(": ")
                code, *span = what.split()
                api.append(Error(int(code), scenario.Range(*span), reasons.get(why, why)))
    return found


def names():
    with open(ERROR_CODES) as source:
        pairs = re.findall(r"^    (\w+) = (-?\d+),", source.read(), re.M)
    return {int(code): re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() for name, code in pairs}


def _fields(message, struct, version, path="", seen=()):
    for field in message.structs[struct]:
        if not field.is_in(version):
            continue
        here = f"{path}{field.name}"
        for name, _ in variations.of(field, version):
            yield f"{here}={name}"
        if field.is_struct and field.element not in seen:
            yield from _fields(message, field.element, version, here + ".", (*seen, field.element))


def rows(api, cases, wanted):
    """(what, {version: case or reason or MISSING}) for each row of an API's table."""
    table = collections.OrderedDict()
    for version in range(api.lowest, api.highest + 1):
        for name in _fields(api.request, api.request.name, version):
            case = cases.variations.get((api.name, version, name))
            why = cases.left_out.get((api.name, name))
            table.setdefault(name, {})[version] = case or (why and f"not asked: {why}") or MISSING
    texts = names()
    listed = [error.code for error in wanted]
    seen = {code for name, _, code in cases.codes if name == api.name}
    for error in [*wanted, *(Error(code, (), "") for code in sorted(seen - set(listed)))]:
        cells = table.setdefault(f"error {error.code} {texts.get(error.code, '')}".strip(), {})
        for version in range(api.lowest, api.highest + 1):
            case = cases.codes.get((api.name, version, error.code))
            if case or version in error.versions:
                cells[version] = case or (error.why and f"not reached: {error.why}") or MISSING
    return table


def tables(apis, served):
    """{api: rows} of what is advertised."""
    cases, wanted = Cases(apis), errors()
    return {name: rows(api, cases, wanted.get(name, [])) for name, api in apis.items()}, cases


def faults(apis, served):
    text = document(apis, served)
    found = []
    for name, table in tables(apis, served)[0].items():
        for what, cells in table.items():
            missing = [version for version, cell in cells.items() if cell == MISSING]
            if missing:
                found.append(f"{name} [{spans(missing)}] {what}: neither a case nor a reason")
    try:
        with open(PATH) as source:
            current = source.read()
    except FileNotFoundError:
        current = ""
    if current != text:
        found.append("protocol-tests/COVERAGE.md is not of these answers: scripts/compare-wire --write-coverage")
    return found


def _kind(what, cell):
    if cell == MISSING:
        return MISSING
    return "reason" if cell.startswith("not ") else "case"


def document(apis, served):
    from . import advertised

    found, cases = tables(apis, served)
    counts = collections.Counter(
        _kind(what, cell) for table in found.values() for what, cells in table.items() for cell in cells.values()
    )
    out = [
        "# What the corpus of requests covers\n\n",
        "Written by `scripts/compare-wire --write-coverage` from the scenarios and the recorded answers. A row is a field of",
        " the request with what it is set to, or an error code; a cell names the scenario that has it (for an error, with the",
        " answer that shows it first), or says why none has.\n\n",
        f"{len(apis)} APIs in {sum(api.highest - api.lowest + 1 for api in apis.values())} versions; "
        f"{sum(counts.values())} cells: {counts['case']} are cases, {counts['reason']} have a reason, "
        f"{counts[MISSING]} are missing. {cases.answers} answers are recorded.\n\n",
    ]
    out += advertised.document(served)
    for name, table in found.items():
        out.append(f"\n## {name}, versions {apis[name].lowest} to {apis[name].highest}\n\n")
        out.append("| what | versions | case, or why there is none |\n|---|---|---|\n")
        for what, cells in table.items():
            by_cell = collections.OrderedDict()
            for version, cell in cells.items():
                by_cell.setdefault(cell, []).append(version)
            for cell, versions in by_cell.items():
                out.append(f"| `{what}` | {spans(versions)} | {cell} |\n")
    return "".join(out)


def write(apis, served):
    with open(PATH, "w") as out:
        out.write(document(apis, served))
