"""The driver of aiokafka. See ../README.md."""

import asyncio
import inspect
import threading

import aiokafka
import aiokafka.admin.config_resource
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from common import Common, PlainAdmin, refusal
from harness.driver import serve

UNKNOWN_TOPIC_OR_PARTITION = 3


class Driver(PlainAdmin, Common):
    api, admin = aiokafka, aiokafka.admin
    roles = {
        "producer": (aiokafka.AIOKafkaProducer, {}),
        "consumer": (aiokafka.AIOKafkaConsumer, {}),
        "admin": (aiokafka.admin.AIOKafkaAdminClient, {}),
    }

    polling = "getmany"

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, function, *arguments, **named):
        async def called():
            found = function(*arguments, **named)
            return await found if inspect.isawaitable(found) else found

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result()

    def made(self, role, settings):
        client = super().made(role, settings)
        self.asked(client.start)
        return client

    def shut(self, client):
        self.asked(client.close if isinstance(client, aiokafka.admin.AIOKafkaAdminClient) else client.stop)

    @staticmethod
    async def delivered(sending):
        return await sending

    def commit_async(self, handle, given):
        """What it has is a coroutine: asynchronous for whoever does not wait."""
        self.asked(self.handles[handle].commit, given)

    def described(self, admin, topic):
        """One of all: asked for one that is missing, it has the broker create it."""
        for found in self.asked(admin.describe_topics):
            if found["topic"] == topic:
                return found
        raise refusal(UNKNOWN_TOPIC_OR_PARTITION)

    def describe_group(self, handle, group):
        (answer,) = self.asked(self.handles[handle].describe_consumer_groups, [group])
        ((code, _, state, _, _, members, *_),) = answer.groups
        described = []
        for _, client_id, _, _, assignment, *_ in members:
            decoded = ConsumerProtocolMemberAssignment.decode(assignment)
            described.append({"client_id": client_id, "assignment": [list(one) for one in decoded.partitions()]})
        return self.checked({"state": state, "members": described}, code)


serve(Driver())
