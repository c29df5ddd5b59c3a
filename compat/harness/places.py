"""Where things are: the repository, the binaries built from it, the ignored cache of what tests fetch."""

import glob
import os
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, ".cache")


class Missing(Exception):
    """Something that a test needs is not there; the test is skipped with this as its reason."""


def target():
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")


def barnabas():
    return _built(os.environ.get("BARNABAS_BINARY") or os.path.join(target(), "barnabas"))


def load_tool():
    return _built(os.environ.get("BARNABAS_LOAD") or os.path.join(target(), "examples", "load"))


def bare_loop():
    return _built(os.environ.get("BARNABAS_BARE") or os.path.join(target(), "examples", "bare"))


def _built(path):
    if not os.path.exists(path):
        raise RuntimeError(f"{path} is not built (cargo build --release --bins --examples)")
    return path


def program(name, package=None, elsewhere=""):
    """The path of a program, installed by its Debian package when it is missing and we are root; `elsewhere` is a pattern of
    folders that it may be in when it is not in those of PATH."""

    def find():
        return shutil.which(name) or shutil.which(name, path=os.pathsep.join(glob.glob(elsewhere)))

    found = find()
    if found:
        return found
    package = package or name
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
        if subprocess.run(install, **quiet).returncode:
            subprocess.run(["apt-get", "update", "-q"], **quiet)
            subprocess.run(install, **quiet)
        found = find()
    if not found:
        raise Missing(f"{name} is not installed and could not be (Debian package {package})")
    return found


def java():
    return program("java", "default-jre-headless")


DEBEZIUM = "3.6.1.Final"
# What each version of the tools, of Kafka Connect and of Kafka Streams is made of, and Debezium as a plugin of Connect and with
# an engine of its own; `copy-dependencies` brings what they depend on. Who says nothing of a group is Kafka's.
JARS = {
    "3.9.2": [("kafka_2.13", "3.9.2"), ("kafka-tools", "3.9.2")],
    "4.2.0": [("kafka_2.13", "4.2.0"), ("kafka-tools", "4.2.0")],
    "0.8.2.2": [("kafka_2.11", "0.8.2.2")],
    "0.9.0.1": [("kafka_2.11", "0.9.0.1")],
    "0.10.2.2": [("kafka_2.11", "0.10.2.2")],
    "2.4.1": [("kafka_2.12", "2.4.1")],
    "2.8.2": [("kafka_2.12", "2.8.2")],
    "connect-3.9.2": [("connect-runtime", "3.9.2"), ("connect-file", "3.9.2"), ("connect-json", "3.9.2")],
    "connect-4.2.0": [("connect-runtime", "4.2.0"), ("connect-file", "4.2.0"), ("connect-json", "4.2.0")],
    "mirror-3.9.2": [("connect-mirror", "3.9.2"), ("connect-runtime", "3.9.2")],
    "mirror-4.2.0": [("connect-mirror", "4.2.0"), ("connect-runtime", "4.2.0")],
    "streams-3.9.2": [("kafka-streams", "3.9.2")],
    "streams-4.2.0": [("kafka-streams", "4.2.0")],
    "debezium": [("io.debezium:debezium-connector-postgres", DEBEZIUM)],
    **{
        f"debezium-{version}": [
            *((name, version) for name in ("connect-runtime", "connect-json", "connect-api", "connect-file", "kafka-clients")),
            *((f"io.debezium:debezium-{name}", DEBEZIUM) for name in ("api", "embedded", "connector-postgres")),
        ]
        for version in ("3.9.2", "4.2.0")
    },
}


def jars(version):
    """The folder of a Kafka version's jars, fetched by coordinates once."""
    folder = os.path.join(CACHE, f"kafka-{version}")
    libraries = os.path.join(folder, "libs")
    if os.path.isdir(libraries):
        return libraries
    java()
    maven = program("mvn", "maven")
    os.makedirs(folder, exist_ok=True)
    whole = [(name if ":" in name else f"org.apache.kafka:{name}", number) for name, number in JARS[version]]
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *name.split(":"), number
        )
        for name, number in whole
    )
    with open(os.path.join(folder, "pom.xml"), "w") as pom:
        pom.write(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            "<groupId>barnabas</groupId><artifactId>tools</artifactId><version>1</version>"
            f"<packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>\n"
        )
    partial = libraries + ".part"
    shutil.rmtree(partial, ignore_errors=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    for offline in ([], ["-o"]):
        command = [maven, "-q", "-B", *offline, *goal]
        run = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode == 0:
            os.rename(partial, libraries)
            return libraries
    raise Missing(f"Kafka {version} could not be fetched: {run.stdout.strip().splitlines()[-1:]}")
