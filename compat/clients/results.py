"""compat/RESULTS.md: read, its columns changed, written again."""

import os
import re

from harness import places

PATH = os.path.join(places.ROOT, "compat", "RESULTS.md")
HEAD = """# What real clients say of Barnabas

Written by `scripts/compat`; what the scenarios are stands in `clients/scenarios.py`. A column is a version of a client, with
the date and the commit of its run (with a + where something was changed since). "not offered" links to where the client's own documentation or source says so.
Applications on Kafka's clients come last: their scenarios are those of their own folders. A cell "not run" is a gap, with which `scripts/compat` fails.
"""
# Rows before the scenarios.
DATE, COMMIT, LIBRARY = "date", "commit", "it says that it is"
# Of what could not be installed, wanted a peer that could not be, or was not asked to run since it is there.
NOT_RUN = "not run"


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


def write(columns, declared):
    """`columns` are as those of `read`. `declared` are the cells that there must be: {client: {version: scenarios}}; no
    others get in, and one that nothing is known of says "not run". Gives those: a line for each version that has some."""
    text, gaps = [HEAD], []
    for name, versions in declared.items():
        rows = [DATE, COMMIT, LIBRARY, *dict.fromkeys(row for scenarios in versions.values() for row in scenarios)]
        known = {version: columns.get(name, {}).get(version, {}) for version in versions}
        text.append(f"\n## {name}\n\n| | " + " | ".join(versions) + " |\n|---|" + "---|" * len(versions) + "\n")
        for row in rows:
            text.append(f"| {row} | " + " | ".join(known[version].get(row, NOT_RUN) for version in versions) + " |\n")
        for version, scenarios in versions.items():
            missing = [row for row in scenarios if known[version].get(row, NOT_RUN) == NOT_RUN]
            if missing:
                of_all = len(missing) == len(scenarios)
                gaps.append(f"{name} {version}: " + ("none of its scenarios" if of_all else " ".join(missing)))
    with open(PATH, "w") as file:
        file.write("".join(text))
    return gaps


def not_offered(entry):
    why = re.sub(r"[|\n]", " ", entry["why"])
    return f"[not offered]({entry['link']}): {why}"
