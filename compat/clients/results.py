"""compat/RESULTS.md: read, its columns changed, written again."""

import os
import re

from harness import places

PATH = os.path.join(places.ROOT, "compat", "RESULTS.md")
HEAD = """# What real clients say of Barnabas

Written by `scripts/compat`; what the scenarios are stands in `clients/scenarios.py`. A column is a version of a client, with
the date and the commit of its run (with a + where something was changed since). "not offered" links to where the client's own documentation or source says so.
Applications on Kafka's clients come last: their scenarios are those of their own folders.
"""
# Rows before the scenarios.
DATE, COMMIT, LIBRARY = "date", "commit", "it says that it is"


def read():
    """{client: {version: {row: cell}}}."""
    found, versions = {}, []
    if os.path.exists(PATH):
        with open(PATH) as file:
            for line in file:
                if line.startswith("## "):
                    client = found.setdefault(line[3:].strip(), {})
                    versions = []
                cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
                if not found or not line.startswith("| ") or len(cells) < 2:
                    continue
                if not versions:
                    versions = cells[1:]
                    client.update({version: {} for version in versions})
                else:
                    for version, cell in zip(versions, cells[1:]):
                        client[version][cells[0]] = cell
    return found


def write(columns, clients, scenarios, applications):
    """`columns` are as those of `read`; only clients, versions and scenarios that there are get in. All cells of a column
    must be there: an old column that knows nothing of a new scenario says so by "not run"."""
    rows = [DATE, COMMIT, LIBRARY, *(scenario.name for scenario in scenarios)]
    text = [HEAD]
    for name, client in clients.items():
        there = columns.get(name, {})
        text += _section(name, [version for version in client.versions if version in there], rows, there)
    for name in applications:
        there = columns.get(name, {})
        versions = sorted(there, key=lambda version: [int(digits) for digits in version.split(".")], reverse=True)
        text += _section(name, versions, dict.fromkeys(row for version in versions for row in there[version]), there)
    with open(PATH, "w") as file:
        file.write("".join(text))


def _section(name, versions, rows, columns):
    if versions:
        yield f"\n## {name}\n\n"
        yield "| | " + " | ".join(versions) + " |\n|---|" + "---|" * len(versions) + "\n"
        for row in rows:
            yield f"| {row} | " + " | ".join(columns[version].get(row, "not run") for version in versions) + " |\n"


def not_offered(entry):
    why = re.sub(r"[|\n]", " ", entry["why"])
    return f"[not offered]({entry['link']}): {why}"
