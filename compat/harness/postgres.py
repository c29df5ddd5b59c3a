"""A PostgreSQL of a test's own, on loopback and a free port: not the server that Debian's package sets up."""

import atexit
import os
import pwd
import signal
import subprocess

from . import brokers, places
from .programs import until

USER = "barnabas"


class Postgres:
    def __init__(self):
        initdb = places.program("initdb", "postgresql", "/usr/lib/postgresql/*/bin")
        self.programs = os.path.dirname(os.path.realpath(initdb))
        self.folder, self.port = brokers.scratch("postgres"), brokers.free_port()
        self.data, self.log = os.path.join(self.folder, "data"), os.path.join(self.folder, "log")
        # It refuses to run as root.
        self.identity = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self.identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        made = subprocess.run(
            [initdb, "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            **self.identity,
        )
        if made.returncode:
            raise RuntimeError(f"initdb: {made.stdout}")
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            # For connectors that read its log.
            "wal_level": "logical",
            # No test ends its machine.
            "fsync": "off",
            # Nothing of it is left outside its folder, however it ends.
            "dynamic_shared_memory_type": "mmap",
        }
        command = [os.path.join(self.programs, "postgres"), "-D", self.data]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process = brokers._spawn(command, self.log, self.folder, **self.identity)
        atexit.register(self.kill)
        until(self._answers, "PostgreSQL answers")

    def _psql(self, statements):
        command = [os.path.join(self.programs, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", "postgres"]
        return subprocess.run(command, input=statements, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _answers(self):
        if self.process.poll() is not None:
            with open(self.log, errors="replace") as log:
                raise RuntimeError(f"PostgreSQL ended with {self.process.returncode}:\n{log.read()[-1500:]}")
        return self._psql("SELECT 1").returncode == 0

    def sql(self, statements):
        """Runs these; what they give, a row a line."""
        done = self._psql(statements)
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr[-500:]}")
        return done.stdout.splitlines()

    def kill(self):
        """At once, and its processes with it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
