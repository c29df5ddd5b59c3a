"""Brokers on a ZooKeeper of three servers, of which one and then most are killed."""

import os
import signal
import time

from harness import brokers, clusters
from harness.numbered import Lines, check_lines
from harness.scenario import check, equal, scenario
from harness.topics import TOPICS, check_replicas, create

# Longer than a session lasts.
LONG_SECONDS = 5


@scenario("servers of ZooKeeper are killed one after the other, then most at once: sessions last, and nothing is lost")
def servers_killed(other):
    kinds = [broker.kind for broker in other.brokers.values()]
    servers = brokers.ZooKeeper.ensemble(brokers.scratch("ensemble"))
    cluster = clusters.Cluster("ensemble", kinds, ensemble=servers)
    try:
        cluster.start()
        create(cluster, "kept", partitions=3)
        ours = [broker for broker in cluster.brokers.values() if broker.kind == "barnabas"]
        begun, controller = [broker.sessions() for broker in ours], cluster.controller()
        lines = Lines(cluster, "kept")
        for number, server in enumerate(servers):
            server.kill()
            time.sleep(LONG_SECONDS)
            cluster.tool(TOPICS, "--create", "--topic", f"without-{number}")
            cluster.in_sync(f"without-{number}", 3)
            server.start()
            time.sleep(2)
        # One that says nothing, but whose connections stay.
        os.kill(servers[0].process.pid, signal.SIGSTOP)
        time.sleep(LONG_SECONDS)
        os.kill(servers[0].process.pid, signal.SIGCONT)
        cluster.tool(TOPICS, "--create", "--topic", "after-silence")
        cluster.in_sync("after-silence", 3)
        equal([broker.sessions() for broker in ours], begun, "sessions that brokers of ours began")
        equal(cluster.controller(), controller, "the controller")
        for server in servers[1:]:
            server.kill()
        time.sleep(2 * LONG_SECONDS)
        for server in servers[1:]:
            server.start()
        cluster.tool(TOPICS, "--create", "--topic", "again")
        cluster.in_sync("again", 3)
        cluster.wait("all agree", lambda: cluster.agreed(3))
        cluster.in_sync("kept", 3)
        check_lines(cluster, "kept", lines.finish())
        check_replicas(cluster, "kept")
        cluster.check_all_run()
    finally:
        cluster.stop()
        for server in servers:
            server.kill()
    for broker in cluster.brokers.values():
        check(broker.process.returncode == 0 or broker.kind == "kafka", broker.tail())
