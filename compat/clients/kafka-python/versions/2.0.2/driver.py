"""The driver of kafka-python before 3.0. See ../README.md."""

import kafka
import kafka.admin
from common import SECONDS, Common, PlainAdmin, refusal
from harness.driver import serve

WAITS = {"reconnect_backoff_max_ms": 200}


class Driver(PlainAdmin, Common):
    api, admin = kafka, kafka.admin
    roles = {
        # It tries again only when it is told to; a record's time is up after request_timeout_ms.
        "producer": (kafka.KafkaProducer, {**WAITS, "retries": SECONDS * 20}),
        "consumer": (kafka.KafkaConsumer, WAITS),
        "admin": (kafka.KafkaAdminClient, WAITS),
    }

    def describe_group(self, handle, group):
        (found,) = self.asked(self.handles[handle].describe_consumer_groups, [group])
        members = [
            {
                "client_id": member.client_id,
                "assignment": [[topic, n] for topic, numbers in member.member_assignment.assignment for n in numbers],
            }
            for member in found.members
        ]
        return {"state": found.state, "members": members}

    def delete_group(self, handle, group):
        ((_, error),) = self.asked(self.handles[handle].delete_consumer_groups, [group])
        if error is not kafka.errors.NoError:
            raise refusal(error)


serve(Driver())
