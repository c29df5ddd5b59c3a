"""Classes of ours that run on Kafka's jars."""

import os
import shutil
import subprocess

from . import places


def compiled(source, version):
    """The folder of what a file of Java says, compiled with the jars of that version; compiled again when it is newer."""
    name = os.path.splitext(os.path.basename(source))[0]
    folder = os.path.join(places.CACHE, f"classes-{name}")
    done = os.path.join(folder, name + ".class")
    if not os.path.exists(done) or os.path.getmtime(done) < os.path.getmtime(source):
        javac = places.program("javac", "default-jdk-headless")
        partial = folder + ".part"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        command = [javac, "-nowarn", "-d", partial, "-cp", places.jars(version) + "/*", source]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode:
            raise RuntimeError(f"{name}.java: {run.stdout}")
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
    return folder


def libraries(version):
    """The class path of a version whose jars come without anything that takes its log lines: what the tools of 3.9.2 have
    does for all."""
    older = places.jars("3.9.2")
    loggers = [os.path.join(older, jar) for jar in sorted(os.listdir(older)) if "reload4j" in jar]
    return ":".join([places.jars(version) + "/*", *loggers])
