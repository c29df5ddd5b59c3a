"""Programs that are no part of Kafka, from Maven Central, PyPI and npm: each fetched once, by its name and version, into a
folder of its own in the ignored cache."""

import importlib.util
import os
import shutil
import subprocess
import sys

from . import places


def _once(name, fetch):
    """The folder that `fetch` fills, unless it is there already."""
    folder = os.path.join(places.CACHE, name)
    if not os.path.isdir(folder):
        partial = folder + ".part"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        fetch(partial)
        os.rename(partial, folder)
    return folder


def _fetch(what, *commands, folder=None):
    """The first of the commands that goes well."""
    for command in commands:
        run = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        if run.returncode == 0:
            return
    # npm says last where its log is.
    said = [line for line in run.stdout.splitlines() if line.strip() and "log" not in line]
    raise places.Missing(f"{what} could not be fetched: {' / '.join(said[-2:])[:300]}")


def archive(group, name, version, classifier):
    """The folder of what a .tar.gz on Maven Central holds."""
    maven = places.program("mvn", "maven")

    def fetch(folder):
        goal = [
            "dependency:copy",
            f"-Dartifact={group}:{name}:{version}:tar.gz:{classifier}",
            f"-DoutputDirectory={folder}",
        ]
        _fetch(f"{name} {version}", [maven, "-q", "-B", *goal], [maven, "-q", "-B", "-o", *goal], folder=folder)
        for packed in os.listdir(folder):
            shutil.unpack_archive(os.path.join(folder, packed), folder)
            os.remove(os.path.join(folder, packed))

    return _once(f"{name}-{version}", fetch)


def python(name, *requirements):
    """The folder of what PyPI has of these, for PYTHONPATH."""
    # That of the Python which runs this: what is compiled among the packages is for its version.
    if importlib.util.find_spec("pip") is None:
        places.program("pip3", "python3-pip")
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile", "--target"]
    return _once(name, lambda folder: _fetch(name, [*command, folder, *requirements]))


def node(name, *packages):
    """A folder with these packages of npm in its node_modules; nothing of theirs runs while they are installed."""
    npm = places.program("npm")
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]
    return _once(name, lambda folder: _fetch(name, [*command, folder, *packages], folder=folder))
