"""What the scripts that measure share: the load generator, memory that is there, and how figures are written."""

import datetime
import json
import os
import platform
import subprocess
import sys

from harness import brokers, places

TOUCH = "import mmap, sys; mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)"


def load(*arguments):
    """Runs the load generator; what it says of its run."""
    command = [places.load_tool(), *map(str, arguments)]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, preexec_fn=brokers._die_with_parent)
    return json.loads(run.stdout.decode().strip().splitlines()[-1]) if run.stdout.strip() else None


def touch_memory():
    """Has the kernel hand out 3 GB once. In a virtual machine the host may back a page only when it is touched, and take
    back those that lie free: that time would be counted to whichever broker happens to write to them first."""
    with open("/proc/meminfo") as meminfo:
        free = next(int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemFree"))
    subprocess.run([sys.executable, "-c", TOUCH, str(min(3 << 30, free // 2))])


def machine():
    """When, of which revision, and on what."""
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    with open("/proc/meminfo") as memory:
        gigabytes = int(memory.readline().split()[1]) / 1e6
    git = ["git", "-C", places.ROOT, "rev-parse", "--short", "HEAD"]
    revision = subprocess.run(git, stdout=subprocess.PIPE, text=True).stdout.strip()
    return (
        f"{datetime.date.today()}, revision {revision}, {os.cpu_count()} cores ({cpu}), {gigabytes:.0f} GB, "
        f"Linux {platform.release()}, {platform.machine()}."
    )


def shown(value):
    """A figure with as many places as it is worth."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
