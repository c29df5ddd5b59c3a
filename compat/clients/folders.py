"""The folders of clients: what client.json says, and each version of a client made ready to run in the ignored cache."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

from harness import places

HERE = os.path.dirname(os.path.abspath(__file__))
_COMPARISONS = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "==": lambda one, other: one == other,
}


def clients():
    """All of them, by name."""
    found = sorted(name for name in os.listdir(HERE) if os.path.exists(os.path.join(HERE, name, "client.json")))
    return {name: Client(name) for name in found}


def _numbers(version):
    return [int(digits) for digits in re.findall(r"\d+", version)]


def within(version, ranges):
    """Whether a version is in `<1.2`, or `>=1.0,<1.2`; all are in None."""
    for one in (ranges or "").split(","):
        if one:
            sign, bound = re.fullmatch(r"\s*([<>=]+)\s*(\S+)\s*", one).groups()
            if not _COMPARISONS[sign](_numbers(version), _numbers(bound)):
                return False
    return True


class Client:
    def __init__(self, name):
        self.name, self.folder = name, os.path.join(HERE, name)
        with open(os.path.join(self.folder, "client.json")) as file:
            self.says = json.load(file)
        self.versions = self.says["versions"]
        self.is_quick = self.says.get("tier", "quick") == "quick"
        if self.says["name"] != name:
            raise ValueError(f"{name}/client.json is that of {self.says['name']}")

    def not_offered(self, version, scenarios):
        """{scenario: what client.json says of it} for one version. A name in it that is none is an error."""
        found = {}
        names = {scenario.name for scenario in scenarios}
        features = {feature for scenario in scenarios for feature in scenario.needs}
        for entry in self.says.get("not_offered", []):
            if not entry["why"] or not entry["link"].startswith("https://"):
                raise ValueError(f"{self.name}/client.json: a reason and a link are missing: {entry}")
            for what in entry["what"]:
                if what not in names | features:
                    raise ValueError(f"{self.name}/client.json: {what} is neither a feature nor a scenario")
                if within(version, entry.get("versions")):
                    for scenario in scenarios:
                        if what == scenario.name or what in scenario.needs:
                            found.setdefault(scenario.name, entry)
        return found

    def offers(self, feature, version):
        entries = self.says.get("not_offered", [])
        return not any(feature in entry["what"] and within(version, entry.get("versions")) for entry in entries)

    def installed(self, version):
        return Installed(self, version)


class Installed:
    """One version, ready to run: `command`, `environment` and `folder`."""

    def __init__(self, client, version):
        self.client, self.version = client, version
        self.folder = os.path.join(places.CACHE, "clients", client.name, version)
        self.names = {
            "python": sys.executable,
            "compat": os.path.dirname(HERE),
            "cache": places.CACHE,
            "folder": self.folder,
            "version": version,
        }
        says = client.says
        self.environment = {key: self._filled(value) for key, value in says.get("environment", {}).items()}
        for program, package in says.get("programs", {}).items():
            places.program(program, package)
        locks = self._files(os.path.join(client.folder, "versions", version))
        sources = self._files(client.folder)
        for path in says.get("shared", []):
            sources[os.path.basename(path)] = os.path.join(client.folder, path)
        # What is compiled among packages of Python is for its version.
        fetched = self._digest(locks, [says.get("fetch"), says.get("environment"), sys.version_info[:2]])
        built = self._digest({**sources, **locks}, [fetched, says.get("build")])
        if self._stamp("fetched") != fetched:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lay(locks)
            self._run("fetch", places.Missing)
            self._stamp("fetched", fetched)
        if self._stamp("built") != built:
            self._lay({**sources, **locks})
            self._run("build", RuntimeError)
            self._stamp("built", built)
        self.command = [self._filled(word) for word in says["run"]]

    def _filled(self, text):
        return re.sub(r"\{(\w+)\}", lambda found: self.names.get(found[1], found[0]), text)

    @staticmethod
    def _files(folder):
        """{path in the folder: path} of the files that go into the cache."""
        found = {}
        for path, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if name not in ("versions", "__pycache__")]
            for name in files:
                if name != "client.json":
                    whole = os.path.join(path, name)
                    found[os.path.relpath(whole, folder)] = whole
        return found

    @staticmethod
    def _digest(files, more):
        digest = hashlib.sha256(json.dumps(more).encode())
        for name, path in sorted(files.items()):
            digest.update(name.encode() + b"\0")
            with open(path, "rb") as file:
                digest.update(file.read() + b"\0")
        return digest.hexdigest()

    def _stamp(self, name, content=None):
        path = os.path.join(self.folder, f".{name}")
        if content is not None:
            with open(path, "w") as file:
                file.write(content)
        elif os.path.exists(path):
            with open(path) as file:
                return file.read()

    def _lay(self, files):
        for name, path in files.items():
            laid = os.path.join(self.folder, name)
            os.makedirs(os.path.dirname(laid), exist_ok=True)
            shutil.copy(path, laid)

    def _run(self, step, failure):
        os.makedirs(self.folder, exist_ok=True)
        for command in self.client.says.get(step, []):
            command = [self._filled(word) for word in command]
            run = subprocess.run(
                command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            if run.returncode:
                said = "\n".join(run.stdout.strip().splitlines()[-30:])
                raise failure(f"{step} of {self.client.name} {self.version}: {' '.join(command)}: {said}")
